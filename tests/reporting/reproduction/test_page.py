"""Pages and pictures of records, without anything that makes these."""

import pytest

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.reporting import pictures
from dsdenseunet.reporting.reproduction.page import SECTIONS, write_page
from experiments.benchmarks.reproduction import counts, epochs, items, methods, paper

MADE = {
    "started": "2026-01-02T03:04:05+00:00",
    "commit": "0123456789abcdef",
    "uncommitted_changes_sha256": None,
    "versions": {"jax": "1.2.3"},
    "hardware": {"cpu_cores": 2, "processor": "Abacus", "machine": "box"},
}
ORIGIN = {"data": {"name": "none", "description": "no data at all"}, "made": [MADE], "command": "python x"}


@pytest.fixture(scope="module")
def parameters():
    return {"item": "table3", **ORIGIN, **counts.table_3()}


def test_table_3_says_where_the_paper_contradicts_itself(parameters):
    section = SECTIONS["table3"](parameters)
    rows = {row[0]: row[1:] for row in section.tables[0].rows}
    assert rows["trainable"] == [
        "36,270,875",
        "36,270,883",
        "+8",
        "180,615,711",
        "53,016,327",
        "-127,599,384",
    ]
    assert rows["non-trainable"][:3] == ["162,712", "162,712", "0"]
    said = " ".join(section.notes)
    for part in ("3.6 million", "10.1 times", "36.3 million", "569", "256 ways", "add and normalise 256"):
        assert part in said
    assert ("Hardware", "2 cores of an Abacus") in section.facts
    assert ("Made 2026-01-02", "commit 0123456789ab; jax 1.2.3") in section.facts


def test_the_sentences_follow_the_counts(parameters):
    other = {**parameters, "ours": {**parameters["ours"], "ds": {**parameters["ours"]["ds"]}}}
    other["ours"]["ds"]["trainable"] += 4
    assert "differ by +12" in " ".join(SECTIONS["table3"](other).notes)


def test_the_page_has_all_of_it(tmp_path, parameters):
    page, sections = write_page(tmp_path, {"table3": parameters})
    text = page.read_text()
    assert "<td>36,270,883</td>" in text
    assert "no data at all" in text
    assert list(sections) == ["table3"]
    shown = items.markdown(sections["table3"])
    assert shown.startswith("## Table 3")
    assert "| trainable | 36,270,875 | 36,270,883 | +8 |" in shown


def test_pictures_are_drawn_for_looking_and_for_printing(tmp_path):
    from matplotlib.figure import Figure

    def figure():
        drawn = Figure(figsize=(2, 1))
        drawn.text(0.1, 0.5, "words")
        return drawn

    assert pictures.draw_both(tmp_path / "a", "words", figure).source.startswith("data:image/png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    pictures.draw_both(tmp_path / "a", "words", figure)
    assert (tmp_path / "a.pdf").read_bytes() == pdf

    def broken():
        raise ValueError("no such thing")

    assert "no such thing" in pictures.draw_both(tmp_path / "a", "words", broken).fault
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_record_is_named(tmp_path, parameters):
    with pytest.raises(InputError, match=r"table3\.json"):
        write_page(tmp_path, {"table3": {**parameters, "biases": {}}})
    files.write_json(tmp_path / "table3.json", {"other": 1})
    with pytest.raises(InputError, match=r"table3\.json"):
        items.read(tmp_path)


def epoch_times(protocol=epochs.REDUCED, name="phantoms, not CTs"):
    made = {
        "paper": {
            "epochs": {v: {str(n): list(s) for n, s in cells.items()} for v, cells in paper.TABLE_2.items()},
            "totals": paper.TABLE_2_TOTALS,
            "patch": [12, 224, 224],
            "steps": 10,
            "trained_on": "a card",
        },
        "ours": {
            "ds": {"5": [30.0, 2.0, 2.0], "10": [32.0, 3.0, 1.0]},
            "standard": {"5": [40.0, 3.0, 3.0], "10": [40.0, 3.0, 3.0]},
        },
        "protocol": {"patch": list(protocol.patch), "steps": protocol.steps},
        "macs": {"ds": 100, "standard": 106},
    }
    return {"item": "table2", **ORIGIN, "data": {"name": name, "description": "d"}, **made}


def test_table_2_keeps_the_first_epoch_apart():
    section = SECTIONS["table2"](epoch_times())
    paper_s, ours, summary = section.tables
    assert paper_s.rows[0] == ["1", "40", "55", "59", "45", "192", "241", "225", "228"]
    assert paper_s.rows[-1] == ["average", "9.6", "10.5", "11.5", "10.0", "35.8", "40.3", "38.9", "40.4"]
    assert ours.rows[-1] == ["average", "11.3", "12.0", "15.3", "15.3"]
    assert [row[4:] for row in summary.rows[:2]] == [["31.00", "40.00", "1.29"], ["2.00", "3.00", "1.50"]]
    assert summary.rows[2][1:3] == ["10.40", "38.85"]
    said = " ".join(section.notes)
    assert "takes 48% of its ten with DS-Conv and 57% with" in said
    assert "ratio is 1.06 on the paper's patch" in said


def test_a_reduced_size_is_in_every_title_and_only_there():
    section = SECTIONS["table2"](epoch_times())
    for title in (section.title, section.tables[1].caption, section.tables[2].caption):
        assert "phantoms, not CTs" in title
        assert "at a reduced size: patches of 12 x 64 x 64 (paper: 12 x 224 x 224), 5 steps" in title
    whole = SECTIONS["table2"](epoch_times(epochs.FULL, "LiTS (131 cases)"))
    assert whole.title.endswith("on LiTS (131 cases), patches of 12 x 224 x 224")
    assert "reduced" not in str(whole)


DS, LITERAL = "configs/ds_dense_unet_569.py:ds", "configs/ds_dense_unet_569.py:ds_literal"
DICE = {"cases": 3, "liver": {"value": 90.0, "low": 85.0, "high": 92.0}}
DICE["tumour"] = {"value": 50.0, "low": None, "high": None}


def compared(dice, data="folder (3 cases)"):
    rows = methods.rows(dice, counted=False)
    return {**ORIGIN, "data": {"name": data, "description": "d"}, "run": "python run it", "rows": rows}


def test_table_1_shows_no_number_of_ours_that_is_not_measured():
    section = SECTIONS["table1"](compared({}))
    assert section.title == "Table 1: Dice in percent on LiTS, the paper's values; ours not run here"
    (shown,) = section.tables
    assert shown.rows[-1] == [
        *("3D-DenseUNet-569", "3D", "3.6", ""),
        *("96.2", "96.7", "not run here", "69.6", "80.7", "not run here"),
    ]
    assert all(row[6] == row[9] == "not run here" for row in shown.rows)
    assert "python run it" in " ".join(section.notes)


def test_table_1_with_measured_rows():
    section = SECTIONS["table1"](compared({DS: DICE, LITERAL: DICE}))
    assert section.title.endswith("and ours of 3 cases of folder (3 cases) in cross-validation")
    *_, usual, literal = section.tables[0].rows
    assert usual[6] == "90.0 (85.0 to 92.0)"
    assert usual[9] == "50.0"
    assert literal[0] == "3D-DenseUNet-569, literal schedule"
    assert literal[4:6] == ["", ""]


@pytest.mark.parametrize(("number", "region"), [(3, "liver"), (4, "tumour")])
def test_bars_are_as_high_as_the_values(number, region):
    (drawing,) = SECTIONS[f"figure{number}"](compared({DS: DICE})).drawings
    figure = drawing.figure()
    (axis,) = figure.axes
    assert axis.get_title(loc="left") == drawing.title
    assert axis.get_ylim() == (0, 100)
    heights = [[bar.get_height() for bar in bars] for bars in axis.containers if hasattr(bars, "patches")]
    expected = [[row[region][kind] for row in paper.TABLE_1] for kind in ("case", "global")]
    assert heights == [*expected, [DICE[region]["value"]]]
    shown = sorted(text.get_text() for text in axis.texts)
    assert shown == sorted(f"{value:.1f}" for values in heights for value in values)


def test_a_comparison_is_read_by_config():
    interval = {"value": 0.5, "low": 0.4, "high": None}
    scored = {"cases": 2, "dice": {"liver": interval, "tumour": interval, "mean": interval}}
    names = ("ds_dense_unet_569.py:ds", "somebody else's")
    record = {"scored": [{"contender": name, **scored} for name in names], "provenance": MADE}
    dice, made = methods.read(record)
    assert dice.keys() == {DS}
    assert dice[DS]["liver"] == {"value": 50.0, "low": 40.0, "high": None}
    assert made == [MADE]


def test_every_method_has_a_config():
    assert list(methods.CONFIGS) == [row["method"] for row in paper.TABLE_1]
    assert methods.STEPS == 11_000
