"""Two runs' scores as a record, and as the table of it."""

import json

from experiments.benchmarks.publishing import spacing

PAIR = {"first": 0.5, "second": 0.75, "difference": -0.25, "low": -0.5, "high": 0.125}


def run(folder, spacing_mm):
    folder.mkdir()
    config = {
        "name": folder.name,
        "task": {"spacing_mm": spacing_mm},
        "data": {"patch_size": [8, 16, 16]},
        "training": {"budget_seconds": 60.0},
    }
    start = {
        "commit": "0123456789abcdef",
        "hardware": {"processor": "a processor"},
        "versions": {"jax": "1.2"},
        "config": config,
        "cases": {"training": ["volume-7", "volume-8"], "validation": ["volume-1"]},
    }
    (folder / "provenance.json").write_text(json.dumps({"starts": [start]}))
    return folder


def test_a_record_pairs_cases_and_the_table_shows_it(tmp_path):
    runs = [run(tmp_path / "coarse", [1.5, 1.5, 2.0]), run(tmp_path / "own", [])]
    pairs = [{"name": name, **PAIR} for name in ("liver_dice_per_case", "lesion_dice_per_case")]
    scores = {"comparison": {"modes": {"corrected": pairs}}}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    (tmp_path / "compare").mkdir()
    for folder, liver in ((tmp_path, 0.5), (tmp_path / "compare", 0.75)):
        head = "case,mode,liver_dice_per_case,lesion_dice_per_case,spacing_mm"
        rows = [f"one,official,0,0,1 1 9\none,corrected,{liver},0.25,1 1.5 10"]
        (folder / "cases.csv").write_text("\n".join([head, *rows]) + "\n")
    record = spacing.record(tmp_path, runs)
    assert record["cases"] == [
        {"case": "one", "spacing_mm": [10.0, 1.5, 1.0], "liver": [0.5, 0.75], "tumour": [0.25, 0.25]}
    ]
    text = spacing.markdown(record)
    assert "| case | its voxels, mm | liver, all at 1.5 x 1.5 x 2 mm | liver, each at its own |" in text
    assert "| one | 10 x 1.5 x 1 | 0.500 | 0.750 | 0.250 | 0.250 |" in text
    assert "2 other cases trained, 60 seconds each" in text
    assert "liver -0.250 (-0.500 to +0.125)" in text
    assert spacing.markdown(None) == "Not run yet."
