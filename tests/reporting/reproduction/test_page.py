"""Pages and pictures of records, without anything that makes these."""

import pytest

from dsdenseunet.core import files
from dsdenseunet.reporting import pictures
from dsdenseunet.reporting.reproduction.page import SECTIONS, write_page
from experiments.benchmarks.reproduction import counts, items

MADE = {
    "started": "2026-01-02T03:04:05+00:00",
    "commit": "0123456789abcdef",
    "uncommitted_changes_sha256": None,
    "versions": {"jax": "1.2.3"},
    "hardware": {"cpu_cores": 2, "processor": "Abacus"},
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


def test_a_damaged_record_is_named(tmp_path):
    from dsdenseunet.core.errors import InputError

    files.write_json(tmp_path / "table3.json", {"other": 1})
    with pytest.raises(InputError, match=r"table3\.json"):
        items.read(tmp_path)
