"""A drawing of three stages, one of them seen twice."""

from xml.etree import ElementTree

from dsdenseunet.reporting.network_drawing import drawing

SVG = "{http://www.w3.org/2000/svg}"


def stage(name, shape, *inputs, operation="conv"):
    return {"name": name, "operation": operation, "shape": shape, "inputs": list(inputs)}


DESCRIPTION = {
    "input_shape": [4, 8, 8, 1],
    "stages": [
        stage("first", [4, 8, 8, 3], "image"),
        stage("pool", [2, 4, 4, 3], operation="pool by 2 x 2 x 2"),
        stage("deep & wide", [2, 4, 4, 15], "first"),
        stage("head", [4, 8, 8, 2], "first", "deep & wide"),
    ],
}


def test_bars_stand_by_level_and_links_lead_to_where_maps_are_seen():
    root = ElementTree.fromstring(drawing(DESCRIPTION, "A <net>"))
    assert root.findtext(f"{SVG}title") == "A <net>"
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts[:8] == [
        *("image", "4 x 8 x 8 x 1", "first", "4 x 8 x 8 x 3"),
        *("deep & wide", "2 x 4 x 4 x 15", "head", "4 x 8 x 8 x 2"),
    ]
    background, *bars = root.iter(f"{SVG}rect")
    x = [float(bar.get("x")) for bar in bars]
    assert x[0] == x[1] == x[3] < x[2]
    # Of 15 channels: 8 + 7 x log2(16).
    assert [float(bar.get("width")) for bar in bars][2] == 36
    image, first, deep, head = (bar.get("fill") for bar in bars)
    assert image == first and len({first, deep, head}) == 3
    # From the image to the first, to the next two, and the first's map past the second to the head.
    assert len([*root.iter(f"{SVG}path")]) == 4
    right = [float(text.get("x")) for text in root.iter(f"{SVG}text")]
    assert max(right) < float(background.get("width"))
