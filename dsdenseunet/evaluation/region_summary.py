"""The scores of a set, region by region: tables and one JSON document, as `summary` has them for LiTS."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dsdenseunet.evaluation import free_response, statistics
from dsdenseunet.evaluation.cohort import Ratio
from dsdenseunet.evaluation.free_response import FALSE_POSITIVES
from dsdenseunet.evaluation.regions import REGIONS, TOLERANCES_MM, RegionScore, TaskScore
from dsdenseunet.tasks.task import Task

# Scores of all cases, by case name and mode, of which there is one.
Scores = Mapping[str, Mapping[str, TaskScore]]


def case_row(name: str, score: TaskScore) -> dict[str, Any]:
    """One case as a flat row of cases.csv."""
    row: dict[str, Any] = {"case": name, "mode": REGIONS}
    for region, values in score.regions.items():
        row |= {f"{region}_{column}": value for column, value in _columns(values).items()}
    row["spacing_mm"] = " ".join(f"{side:g}" for side in score.spacing_mm)
    row["turned"] = score.turned
    row["marks"] = "; ".join(score.marks)
    return row


def _columns(score: RegionScore) -> dict[str, Any]:
    near = {f"surface_dice_{t}mm": value for t, value in zip(TOLERANCES_MM, score.surface_dice, strict=True)}
    row = {"dice": score.dice, **near, "hd95_mm": score.hd95_mm, "assd_mm": score.assd_mm}
    row |= {"prediction_ml": score.prediction_ml, "reference_ml": score.reference_ml}
    if score.pieces:
        row |= score.pieces.counts
    return row


def summarise(scores: Scores, task: Task, seed: int = 0) -> dict[str, Any]:
    """All scores of a set, in the form of `summary.summarise`."""
    cases = {name: modes[REGIONS] for name, modes in scores.items()}
    weights = statistics.case_weights(len(cases), seed)
    terms = _terms(list(cases.values()), task)
    marks: dict[str, list[str]] = defaultdict(list)
    for name, case in cases.items():
        for mark in case.marks:
            marks[mark].append(name)
    return {
        REGIONS: {
            "scores": {name: term.value() for name, term in terms.items()},
            "extra": _sensitivities(list(cases.values()), task),
            "intervals": {name: statistics.interval(term, weights) for name, term in terms.items()},
            "by_size": [],
            "free_response": None,
            "marks": dict(marks),
        }
    }


def selectable(task: Task) -> list[str]:
    """The scores that can choose weights, beside each region's Dice.

    They are those of `set_scores` of which more is better and that every prediction has. Distances are not
    defined where nothing is predicted: the mean would leave out a network's worst cases.
    """
    near = [f"surface_dice_{tolerance}mm" for tolerance in TOLERANCES_MM]
    pieces = ["recall", "precision", *(f"sensitivity_at_{rate:g}fp" for rate in FALSE_POSITIVES)]
    return [
        f"{region.name}_{score}"
        for region in task.regions
        for score in (*near, *(pieces if region.name in task.detect else ()))
    ]


def set_scores(cases: Sequence[TaskScore], task: Task) -> dict[str, float | None]:
    """The scores of a set by name; None where one is not defined."""
    return {name: term.value() for name, term in _terms(cases, task).items()} | _sensitivities(cases, task)


def _sensitivities(cases: Sequence[TaskScore], task: Task) -> dict[str, float | None]:
    """Of each region that is detected, the share of pieces found with so many false ones a case."""
    found: dict[str, float | None] = {}
    for region in task.detect:
        pieces = [score.pieces for case in cases if (score := case.regions[region]).pieces]
        hit_ml, true_ml, false_ml = (
            [ml for one in pieces for ml in getattr(one, side)] for side in ("hit_ml", "true_ml", "false_ml")
        )
        curve = free_response.response(hit_ml, true_ml, false_ml, len(cases))
        for rate in FALSE_POSITIVES:
            found[f"{region}_sensitivity_at_{rate:g}fp"] = curve["at"][f"{rate:g}"] if curve else None
    return found


def compare_methods(first: Scores, second: Scores, task: Task, seed: int = 0) -> dict[str, Any]:
    """Two methods over the same cases, in Dice and surface Dice of each region and in mean Dice."""
    names = [f"{region.name}_{score}" for region in task.regions for score in ("dice", "surface_dice_2mm")]
    one, two = (_terms([scores[name][REGIONS] for name in first], task) for scores in (first, second))
    weights = statistics.case_weights(len(first), seed)
    rows = statistics.compare(one, two, weights, seed, dict.fromkeys(["mean_dice", *names], True))
    return {REGIONS: [dataclasses.asdict(row) for row in rows]}


def _terms(cases: Sequence[TaskScore], task: Task) -> dict[str, Ratio]:
    selected = [[case.regions[name].dice for name in task.selected_regions] for case in cases]
    terms = {"mean_dice": _mean([sum(dice) / len(dice) for dice in selected])}
    for region in task.regions:
        scores = [case.regions[region.name] for case in cases]

        def mean(value: Callable[[RegionScore], float | None], scores: list[RegionScore] = scores) -> Ratio:
            return _mean([value(score) for score in scores])

        found = {"dice": mean(lambda score: score.dice)}
        for place, tolerance in enumerate(TOLERANCES_MM):
            found[f"surface_dice_{tolerance}mm"] = mean(lambda score, at=place: score.surface_dice[at])  # type: ignore[misc]
        found["hd95_mm"] = mean(lambda score: score.hd95_mm)
        found["assd_mm"] = mean(lambda score: score.assd_mm)
        found["volume_difference_ml"] = mean(lambda score: score.prediction_ml - score.reference_ml)
        found["volume_error_ml"] = mean(lambda score: abs(score.prediction_ml - score.reference_ml))
        if region.name in task.detect:
            pieces = [score.pieces for score in scores if score.pieces]
            found["recall"] = _ratio([p.found for p in pieces], [len(p.hit_ml) for p in pieces])
            found["precision"] = _ratio(
                [len(p.true_ml) for p in pieces], [len(p.true_ml) + len(p.false_ml) for p in pieces]
            )
        terms |= {f"{region.name}_{name}": term for name, term in found.items()}
    return terms


def _mean(values: Sequence[float | None]) -> Ratio:
    """Over the cases in which it is defined."""
    return _ratio([value or 0.0 for value in values], [float(value is not None) for value in values])


def _ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    return Ratio(np.asarray(above, np.float64), np.asarray(below, np.float64))
