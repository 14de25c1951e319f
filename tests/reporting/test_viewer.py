import base64
import io
import json
import re
import shutil
import subprocess
import zlib

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from dsdenseunet.core.errors import InputError
from dsdenseunet.reporting.viewer import Piece, pieces, view_files
from dsdenseunet.tasks import lits

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
SPACING = (2.0, 1.0, 1.0)
# (D, H, W).
SHAPE = (6, 10, 8)


def truth() -> np.ndarray:
    """A liver with two tumours of 4 voxels and 1."""
    labels_DHW = np.zeros(SHAPE, np.uint8)
    labels_DHW[1:5, 2:8, 1:7] = 1
    labels_DHW[2, 3:5, 2:4] = 2
    labels_DHW[4, 6, 6] = 2
    return labels_DHW


def prediction() -> np.ndarray:
    """The same liver; of the first tumour a half, and one that is none."""
    labels_DHW = np.where(truth() == 2, 1, truth()).astype(np.uint8)
    labels_DHW[2, 3, 2:4] = 2
    labels_DHW[1, 7, 1:4] = 2
    return labels_DHW


def write(folder, name, array_DHW):
    """As NIfTI whose axes are (W, H, D), each the other way round but D: LPS, as scanners have it."""
    path = folder / f"{name}.nii.gz"
    data = np.ascontiguousarray(array_DHW[:, ::-1, ::-1].transpose(2, 1, 0))
    nib.save(nib.Nifti1Image(data, np.diag([-SPACING[2], -SPACING[1], SPACING[0], 1.0])), path)
    return path


@pytest.fixture
def page(tmp_path):
    rng = np.random.default_rng(0)
    image_DHW = np.repeat(rng.integers(-150, 250, SHAPE[0]), SHAPE[1] * SHAPE[2]).reshape(SHAPE)
    paths = [
        write(tmp_path, "scan", image_DHW.astype(np.int16)),
        write(tmp_path, "prediction", prediction()),
        write(tmp_path, "reference", truth()),
    ]
    out = tmp_path / "scan.html"
    listed = view_files(out, paths[0], lits.TASK, *paths[1:])
    return out, image_DHW, listed


def data_of(path):
    return json.loads(re.search(r"^const DATA = (.*);$", path.read_text(), re.MULTILINE)[1])


def test_pieces_are_found_missed_or_false():
    listed = pieces(lits.TASK, truth(), prediction(), SPACING)
    assert [(piece.region, piece.found) for piece in listed] == [
        ("tumour", "missed"),
        ("tumour", "false"),
        ("liver", "found"),
        ("tumour", "found"),
    ]
    assert [piece.ml for piece in listed] == pytest.approx([0.002, 0.006, 0.288, 0.008])
    assert listed[0].voxel == (4, 6, 6)
    assert listed[1].voxel == (1, 7, 2)
    for piece in listed:
        labels_DHW = prediction() if piece.found == "false" else truth()
        assert lits.TASK.region(piece.region).mask(labels_DHW)[piece.voxel]


def test_without_a_reference_nothing_is_found_or_missed():
    listed = pieces(lits.TASK, None, prediction(), SPACING)
    assert [piece.region for piece in listed] == ["liver", "tumour", "tumour"]
    assert {piece.found for piece in listed} == {""}
    assert pieces(lits.TASK, None, None, SPACING) == []
    assert pieces(lits.TASK, None, np.zeros(SHAPE, np.uint8), SPACING) == []


def test_the_page_holds_the_scan_and_its_labels(page):
    path, image_DHW, listed = page
    data = data_of(path)
    assert (data["shape"], data["spacing_mm"], data["unit"]) == ([*SHAPE], [*SPACING], "HU")
    assert data["window"] == [-200, 250]
    low, high = data["seen"]
    shown = np.stack(
        [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in data["slices"]]
    ).astype(float)
    # Slices of one value each, so that JPEG changes nothing; 8 bits.
    np.testing.assert_allclose(low + shown * (high - low) / 255, image_DHW, atol=(high - low) / 255)
    for name, expected in (("truth", truth()), ("prediction", prediction())):
        packed = zlib.decompress(base64.b64decode(data["labels"][name]))
        np.testing.assert_array_equal(np.frombuffer(packed, np.uint8).reshape(SHAPE), expected)
    assert [Piece(**{**one, "voxel": tuple(one["voxel"])}) for one in data["pieces"]] == listed
    assert not re.search(r"(src|href)=|https?://", path.read_text())


def test_labels_of_another_shape_are_refused(tmp_path):
    scan = write(tmp_path, "scan", np.zeros(SHAPE, np.int16))
    other = write(tmp_path, "other", np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(InputError, match="3 x 3 x 3"):
        view_files(tmp_path / "scan.html", scan, lits.TASK, other)
    assert not (tmp_path / "scan.html").exists()


DRIVE = """<script>
(async () => {
  while (document.body.dataset.ready !== "yes") await new Promise(then => setTimeout(then, 20));
  const canvas = document.querySelector("#axial canvas"), box = canvas.getBoundingClientRect();
  const said = [], note = () => said.push([...here]);
  const point = (type, pointerType, clientX, clientY) =>
    canvas.dispatchEvent(new PointerEvent(type, {pointerType, clientX, clientY}));
  const touch = (type, y) => point(type, "touch", box.left + 50, y);
  const key = name => document.dispatchEvent(new KeyboardEvent("keydown", {key: name, bubbles: true}));
  note();
  canvas.dispatchEvent(new WheelEvent("wheel", {deltaY: -100, cancelable: true})); note();
  key("ArrowDown"); key("ArrowDown"); note();
  key("ArrowRight"); note();
  touch("pointerdown", 300); touch("pointermove", 284); touch("pointerup", 284); note();
  const x = box.left + box.width / 2, y = box.top + box.height / 2;
  point("pointerdown", "mouse", x + 1, y + 1); note();
  key("d");
  said.push([element("difference").checked, element("prediction").checked]);
  document.querySelector("tr[data-piece='0']").click(); note();
  document.title = JSON.stringify(said);
})();
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_wheel_keys_touch_and_clicks_move_through_the_scan(page):
    path, _, listed = page
    path.write_text(path.read_text().replace("</body>", DRIVE))
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=10000",
        "--dump-dom",
    ]
    run = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=120)
    said = json.loads(re.search(r"<title>(\[.*\])</title>", run.stdout)[1])
    d, h, w = listed[0].voxel
    assert said[0] == [d, h, w]
    assert said[1] == [d + 1, h, w]
    assert said[2] == [d - 1, h, w]
    assert said[3] == [*listed[1].voxel]
    assert said[4] == [listed[1].voxel[0] + 2, *listed[1].voxel[1:]]
    # The middle of the picture, whose right side is the patient's left.
    assert said[5] == [said[4][0], SHAPE[1] // 2 - 1, SHAPE[2] // 2 - 1]
    assert said[6] == [True, True]
    assert said[7] == [*listed[0].voxel]
