"""What is made of heats' results: means, intervals, pairs."""

import pytest

from dsdenseunet.core import files
from dsdenseunet.reporting import comparison_tables
from dsdenseunet.reporting.comparison_page import curves_figure, leads_figure, write_comparison_page
from experiments.benchmarks.peers import standings
from experiments.benchmarks.publishing import blocks, comparison_markdown
from tests import documents

PROVENANCE = {"commit": "c" * 40, "hardware": {"processor": "X"}, "versions": {"jax": "1"}}


def result(contender, fold=0, seed=0, budget="60s", **dice):
    """A heat in which each case has so much Dice of the head, and half of it of the tail."""
    scores = {case: {"head": value, "tail": value / 2} for case, value in dice.items()}
    return {
        **{"contender": contender, "budget": budget, "fold": fold, "seed": seed},
        **{"seconds": 50 + seed, "commit": "d" * 40, "dice": scores},
    }


def test_folds_are_pooled_and_seeds_are_averaged_by_case():
    results = [
        result("one", 3, 5, a=0.8, b=0.6),
        result("one", 3, 6, a=0.4, b=0.6),
        result("one", 4, 5, c=1.0),
        result("one", 4, 6, c=1.0),
    ]
    (row,) = standings.scored(results)
    assert (row["folds"], row["seeds"], row["cases"], row["seconds"]) == ([3, 4], [5, 6], 3, 56)
    assert row["dice"]["head"]["value"] == pytest.approx((0.6 + 0.6 + 1) / 3)
    assert row["dice"]["mean"]["value"] == pytest.approx(0.75 * (0.6 + 0.6 + 1) / 3)
    assert row["dice"]["mean"]["low"] <= row["dice"]["mean"]["value"] <= row["dice"]["mean"]["high"]
    assert row["by_seed"] == {"5": pytest.approx(0.75 * 2.4 / 3), "6": pytest.approx(0.75 * 2 / 3)}
    assert row["step_s"] is None


def test_pairs_are_of_the_cases_that_all_have_scored_and_corrected_over_the_contenders():
    cases = {f"case_{number}": 0.5 + number / 40 for number in range(12)}
    worse = {case: value - 0.1 for case, value in cases.items()}
    results = [
        result("first", **cases, alone=0.1),
        result("worse", **worse),
        result("same", **cases),
        # Of another budget nothing is compared with.
        result("worse", budget="9steps", **worse),
    ]
    pairs = {pair["second"]: pair for pair in standings.compared(results)}
    assert set(pairs) == {"worse", "same"}
    assert pairs["worse"]["cases"] == 12 and pairs["worse"]["difference"] == pytest.approx(0.075)
    # Of 2^12 exchanges two are as large; of two contenders it is the smaller p-value.
    assert pairs["worse"]["p_value"] == pytest.approx(2 / 2**12)
    assert pairs["worse"]["p_adjusted"] == pytest.approx(2 * 2 / 2**12)
    assert (pairs["worse"]["better"], pairs["same"]["better"]) == ("first", "undecided")
    axis = leads_figure(list(pairs.values())).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["worse", "same"]
    assert [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "o"] == [
        -pairs["worse"]["difference"],
        -pairs["same"]["difference"],
    ]
    assert pairs["same"]["p_adjusted"] == 1.0


def test_what_all_cases_have_together():
    def counted(seed, *both):
        voxels = [{"prediction": 4, "reference": 6, "intersection": one} for one in both]
        pieces = {"found": 1, "missed": 1, "true_prediction": 1, "false_prediction": 3}
        return {
            **result("one", seed=seed, a=0.5, b=0.5),
            "voxels": {case: {"head": one, "tail": one} for case, one in zip("ab", voxels, strict=True)},
            "pieces": {case: {"head": pieces} for case in "ab"},
        }

    (row,) = standings.scored([counted(0, 4, 2), counted(1, 4, 0)])
    assert {name: score["value"] for name, score in row["pooled"].items()} == {
        "head global_dice": 2 * 10 / 40,
        "head recall": 0.5,
        "head precision": 0.25,
        "tail global_dice": 0.5,
    }
    head, rows = comparison_tables.pooled({"scored": [row]})
    assert head[2:] == ("head global dice", "head recall", "head precision", "tail global dice")
    assert rows[0][:2] == ("60s", "one") and rows[0][2].startswith("0.500 (")
    assert "pooled" not in standings.scored([result("one", a=0.5)])[0]


def test_a_single_case_has_no_interval():
    (pair,) = standings.compared([result("one", a=0.8), result("other", a=0.4)])
    assert (pair["low"], pair["high"], pair["better"]) == (None, None, "undecided")


def test_an_older_record_is_made_anew(tmp_path):
    heat = {**result("one", a=1.0, b=0.5), "steps": 7, "said": '{"steps": 7}'}
    now = standings.record("Task", [heat], {}, {}, PROVENANCE)
    older = [
        {**{name: value for name, value in heat.items() if name not in ("budget", "steps")}, "minutes": 1.0}
        for heat in now["results"]
    ]
    path = tmp_path / "race.json"
    written = {"data": "Task", "results": older, "scored": [], "compared": []}
    files.write_json(path, {**written, "peer_versions": {}, "provenance": PROVENANCE})
    assert standings.read(path) == now


def test_the_published_record_says_what_its_heats_say():
    for name in blocks.COMPARISONS.values():
        path = documents.ROOT / blocks.RESULTS / name
        assert standings.read(path) == files.read_json(path)


def test_tables_and_page_have_every_number(tmp_path):
    curve = [{"steps": 10, "seconds": 2.5, "dice": 0.5}, {"steps": 20, "seconds": 5.0, "dice": 0.7}]
    measured = {"steps": 20, "step_s": 0.25, "host_bytes": 2**30, "curve": curve}
    results = [{**result("one <a>", seed=seed, a=0.9, b=0.7, c=0.8), **measured} for seed in (0, 1)] + [
        result("other", seed=seed, a=0.8, b=0.7, c=0.8) for seed in (0, 1)
    ]
    record = standings.record(
        "Task", results, {"one <a>": {"parameters": 12345, "voxel_macs": 678.4}}, {"torch": "2"}, PROVENANCE
    )
    text = comparison_markdown.markdown(record)
    for part in ("12,345", "678", "0.250", "1.00", "torch 2", "0.6000, 0.6000", "cccc", "dddd"):
        assert part in text
    head, rows = comparison_tables.costs(record)
    assert "GiB of the device" not in head and rows[1][:2] == ["60s", "other"]
    page = tmp_path / "page.html"
    write_comparison_page(page, record)
    html = page.read_text()
    assert "one &lt;a&gt;" in html and "data:image/png" in html and "12,345" in html
    axis = curves_figure(results, "60s").axes[0]
    assert [line.get_xdata().tolist() for line in axis.lines] == [[2.5, 5.0]] * 2
    assert [text.get_text() for text in axis.figure.legends[0].get_texts()] == ["one <a>"]
    assert curves_figure(results, "20steps").axes[0].lines[0].get_xdata().tolist() == [10, 20]
