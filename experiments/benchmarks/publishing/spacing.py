"""Two runs on volumes of LiTS that differ in the voxels which the network sees: a record, and its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsdenseunet.core import files
from dsdenseunet.core.words import by
from dsdenseunet.reporting.results import read_rows
from experiments.benchmarks.publishing.markdown import table

# Said wherever numbers of these volumes stand.
DATA = "14 LiTS cases, every second slice, 256 x 256, -40 to 160 HU"
_SCORES = {"liver": "liver_dice_per_case", "tumour": "lesion_dice_per_case"}


def record(scores: Path, runs: Sequence[Path]) -> dict[str, Any]:
    """What was measured, and with what.

    Args:
        scores: of both runs' predictions, as `experiments.evaluate --compare` wrote them.
        runs: the folders of both.
    """
    made = files.read_json(scores / "scores.json")
    starts = [files.read_json(run / "provenance.json")["starts"][-1] for run in runs]
    compared = {one["name"]: one for one in made["comparison"]["modes"]["corrected"]}
    first, second = (_cases(path) for path in (scores / "cases.csv", scores / "compare" / "cases.csv"))
    return {
        "data": DATA,
        "provenance": {name: starts[0][name] for name in ("commit", "hardware", "versions")},
        "training_cases": starts[0]["cases"]["training"],
        "configs": [start["config"] for start in starts],
        "cases": [
            {
                "case": case,
                "spacing_mm": [float(side) for side in reversed(row["spacing_mm"].split())],
                **{
                    name: [float(rows[case][score]) for rows in (first, second)]
                    for name, score in _SCORES.items()
                },
            }
            for case, row in first.items()
        ],
        "differences": {name: compared[score] for name, score in _SCORES.items()},
    }


def _cases(path: Path) -> dict[str, dict[str, str]]:
    return {row["case"]: row for row in read_rows(path) if row["mode"] == "corrected"}


def markdown(record: Mapping[str, Any] | None) -> str:
    """Dice of each case with both, their means and the difference, and what it was made with."""
    if record is None:
        return "Not run yet."
    names = [_in_words(config["task"]["spacing_mm"]) for config in record["configs"]]
    heads = ["case", "its voxels, mm", *(f"{region}, {name}" for region in _SCORES for name in names)]
    rows = [
        [
            case["case"],
            _by(case["spacing_mm"]),
            *(f"{dice:.3f}" for region in _SCORES for dice in case[region]),
        ]
        for case in record["cases"]
    ]
    means = [record["differences"][region][side] for region in _SCORES for side in ("first", "second")]
    rows.append(["**mean**", "", *(f"**{mean:.3f}**" for mean in means)])
    leads = "; ".join(
        f"{region} {one['difference']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f})"
        for region, one in record["differences"].items()
    )
    made, training = record["provenance"], record["configs"][0]["training"]
    about = (
        f"Dice; {record['data']}. {len(record['training_cases'])} other cases trained, "
        f"{training['budget_seconds']:.0f} seconds each, validation aside, on one core of an "
        f"{made['hardware']['processor']}, jax {made['versions']['jax']}, commit {made['commit'][:12]}. "
        f"Difference of the means, with the 95 % bootstrap interval over cases: {leads}."
    )
    return f"{table(heads, rows)}\n\n{about}"


def _in_words(spacing_mm: Sequence[float]) -> str:
    return f"all at {_by(spacing_mm)} mm" if spacing_mm else "each at its own"


def _by(sides: Sequence[float]) -> str:
    return by([round(side, 2) for side in sides])
