"""The page of an evaluation: both modes side by side, every case, what differs and why, and pictures."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsdenseunet.core import files
from dsdenseunet.core.words import counted
from dsdenseunet.data.scans import walk
from dsdenseunet.reporting import (
    case_pictures,
    html,
    pictures,
    region_columns,
    results,
    score_figures,
    score_lines,
)
from dsdenseunet.reporting.results import finite
from dsdenseunet.tasks.task import Task

CaseRow = Mapping[str, str]
FIX = "run experiments.evaluate again"


def write_score_page(out: str | os.PathLike[str]) -> Path:
    """Writes report.html and its pictures into a folder that `evaluation.folder.evaluate` has filled.

    A picture that cannot be drawn, such as that of a damaged image, is replaced by a sentence that says why.

    Args:
        out: folder with scores.json and cases.csv.

    Returns:
        The page's path.

    Raises:
        InputError: a result is missing or damaged.
    """
    out = Path(out)
    scores_path, cases_path = out / "scores.json", out / "cases.csv"
    with results.complete(scores_path, FIX):
        scores = files.read_json(scores_path)
        shown = list(scores["modes"])[-1]
        task = Task.of(scores["task"], str(scores_path))
        columns = region_columns.shown_columns(task, shown)
        dice = region_columns.dice_columns(task, shown)
        response = scores["modes"][shown]["free_response"]
        calibration = scores["calibration"]
        values = {
            "lead": (
                f"{counted(scores['cases'], 'case')}: {scores['predictions']} against {scores['references']}"
            ),
            "modes": list(scores["modes"]),
            "shown": shown,
            "failures": _failures(scores),
            "absent": dict(scores["absent"]),
            "score_rows": _score_rows(scores["modes"]),
            "fold_headings": ["fold", "cases", *(f"{name} Dice" for name in dice)],
            "fold_rows": _fold_rows(scores["by_fold"], shown, list(dice.values())),
            "size_rows": [_size_row(row) for row in scores["modes"][shown]["by_size"]],
            "differences": [_difference_row(row) for row in scores["differences"]],
            "marks": score_lines.marks(scores["modes"]),
            "calibration_rows": _calibration_rows(calibration) if calibration else [],
            "sensitivity": _number(response["mean"]) if response else "",
            "comparison": _comparison(scores, shown),
            "facts": _facts(scores),
        }
        paths = {name: dict(of_case) for name, of_case in scores["files"].items()}
    with results.complete(cases_path, FIX):
        cases = [row for row in results.read_rows(cases_path) if row["mode"] == shown]
        if {row["case"] for row in cases} != set(paths):
            raise ValueError(f"other cases than in {scores_path}")
        values["case_rows"] = [_case_row(row, columns) for row in cases]
        ranked_by = list(dice.values())[-1]
        with_image = [row for row in cases if paths[row["case"]]["image"]]
        choices = case_pictures.choose(with_image, ranked_by)
    figures = {
        "cases": pictures.draw(
            out / "cases.png",
            f"Dice of {' and '.join(dice)} of each case",
            lambda: score_figures.case_figure(cases, shown, dice),
        )
    }
    if response:
        figures["free_response"] = pictures.draw(
            out / "free_response.png",
            "Lesions touched over false positives a case",
            lambda: score_figures.free_response_figure(response),
        )
    if calibration:
        figures["reliability"] = pictures.draw(
            out / "reliability.png",
            "Accuracy over confidence",
            lambda: score_figures.reliability_figure(calibration),
        )
    page = out / "report.html"
    html.write_page(
        page,
        "scores.html",
        title="Scores",
        case_headings=columns.values(),
        figures=figures,
        overlays=[
            case_pictures.draw(out, choice, paths[choice.case], task, list(dice)[-1]) for choice in choices
        ],
        **values,
    )
    return page


_COUNTS = ("true_reference", "false_negative", "false_positive")


def _number(value: float | str | None, digits: int = 3) -> str:
    if value is None or value == "":
        return "-"
    return f"{finite(value):.{digits}f}"


def _score_rows(modes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per score: value and interval in each mode, and whether the modes differ."""
    first = next(iter(modes.values()))
    rows = []
    for group in ("scores", "extra"):
        if any(mode[group].keys() != first[group].keys() for mode in modes.values()):
            raise ValueError(f"modes with different {group}")
        for name in first[group]:
            values = [mode[group][name] for mode in modes.values()]
            cells = []
            for value, mode in zip(values, modes.values(), strict=True):
                ends = mode["intervals"].get(name)
                cells.append((_number(value), f"{_number(ends[0])} to {_number(ends[1])}" if ends else ""))
            rows.append({"name": name, "cells": cells, "differs": len({cell[0] for cell in cells}) > 1})
    return rows


def _fold_rows(folds: Mapping[str, Any], mode: str, names: Sequence[str]) -> list[list[str]]:
    """Cases and scores of each fold, and how they differ between folds."""
    if not folds:
        return []
    rows = [
        [fold, str(of["cases"]), *(_number(of[mode][name]) for name in names)] for fold, of in folds.items()
    ]
    values = [[finite(of[mode][name]) for of in folds.values()] for name in names]
    spread = [f"{statistics.mean(own):.3f} ± {statistics.stdev(own):.3f}" for own in values]
    return [*rows, ["mean ± standard deviation", "", *spread]]


def _calibration_rows(found: Mapping[str, Any]) -> list[list[str]]:
    named = {
        "as saved": found["as_saved"],
        f"at temperature {found['temperature']:.3g}": found["with_temperature"],
    }
    return [[name, _number(values["ece"], 4), _number(values["nll"], 4)] for name, values in named.items()]


def _case_row(row: CaseRow, columns: Mapping[str, str]) -> list[str]:
    numbers = list(columns)[1:]
    return [row["case"], *(_number(row[name], 0 if name in _COUNTS else 3) for name in numbers)]


def _failures(scores: Mapping[str, Any]) -> list[tuple[str, str]]:
    """File and message of every pair that could not be scored, of both methods."""
    both = [*scores["failures"], *scores.get("comparison", {"failures": []})["failures"]]
    return [(failure["scan"], failure["message"]) for failure in both]


def _size_row(row: Mapping[str, Any]) -> list[str]:
    size = f"{row['from_mm']:g} to {row['to_mm']:g} mm" if row["to_mm"] else f"from {row['from_mm']:g} mm"
    shares = [_number(row[name]) for name in ("touched", "detected", "dice", "dice_touched")]
    return [size, str(row["lesions"]), *shares]


def _difference_row(row: Mapping[str, Any]) -> list[str]:
    sides = [", ".join(map(str, row[side])) for side in ("reference_lesions", "predicted_lesions")]
    return [row["case"], *sides, row["cause"]]


def _comparison(scores: Mapping[str, Any], mode: str) -> dict[str, Any] | None:
    """The second method beside the first; a difference within the noise is labelled as such."""
    if "comparison" not in scores:
        return None
    comparison = scores["comparison"]
    words = {"first": "first is better", "second": "second is better"}
    rows = []
    for row in comparison["modes"][mode]:
        interval = "" if row["low"] is None else f"{_number(row['low'])} to {_number(row['high'])}"
        verdict = words.get(row["better"], f"no difference shown: {row['reason']}")
        values = [_number(row[name]) for name in ("first", "second", "difference")]
        rows.append([row["name"], *values, interval, _number(row["p_adjusted"], 4), verdict])
    return {
        "first": comparison["first"],
        "second": comparison["second"],
        "cases": counted(comparison["cases"], "case"),
        "rows": rows,
    }


def _facts(scores: Mapping[str, Any]) -> list[tuple[str, str]]:
    environment = scores["environment"]
    versions, hardware = dict(environment["versions"]), environment["hardware"]
    package, python = versions.pop("dsdenseunet"), versions.pop("python")
    libraries = ", ".join(f"{name} {version}" for name, version in versions.items())
    return [
        ("dsdenseunet", f"{package}, commit {environment['commit'] or 'unknown'}"),
        ("Python", f"{python}; {libraries}"),
        ("machine", f"{hardware['processor']}, {hardware['cpu_cores']} cores, {hardware['system']}"),
        *(("files", line) for line in walk.describe(walk.from_json(scores["passed_over"]))),
    ]
