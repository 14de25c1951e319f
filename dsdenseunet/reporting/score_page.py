"""The page of an evaluation: both modes side by side, every case, what differs and why, and pictures."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsdenseunet import files
from dsdenseunet.data import nifti
from dsdenseunet.reporting import html, overlays, score_figures, style
from dsdenseunet.words import counted

CaseRow = Mapping[str, str]
# Which case is best or worst is decided by this one.
RANKED_BY = "lesion_dice_per_case"
SLICES = 2


def write_score_page(out: str | os.PathLike[str]) -> Path:
    """Writes report.html and its pictures into a folder that `evaluation.folder.evaluate` has filled.

    Args:
        out: folder with scores.json and cases.csv.

    Returns:
        The page's path.

    Raises:
        InputError: a result, or a volume that scores.json names, is missing or damaged.
    """
    out = Path(out)
    scores = files.read_json(out / "scores.json")
    rows = list(csv.DictReader(io.StringIO((out / "cases.csv").read_text(encoding="utf-8"))))
    modes = list(scores["modes"])
    shown = modes[-1]
    cases = [row for row in rows if row["mode"] == shown]
    pictures = {"cases": score_figures.case_figure(cases, shown)}
    response = scores["modes"][shown]["free_response"]
    if response:
        pictures["free_response"] = score_figures.free_response_figure(response)
    for name, figure in pictures.items():
        style.save(figure, out / f"{name}.png")
    page = out / "report.html"
    html.write_page(
        page,
        "scores.html",
        title="Scores",
        lead=f"{counted(scores['cases'], 'case')}: {scores['predictions']} against {scores['references']}",
        modes=modes,
        shown=shown,
        score_rows=_score_rows(scores["modes"]),
        case_headings=_CASE_COLUMNS.values(),
        case_rows=[_case_row(row) for row in cases],
        size_rows=[_size_row(row) for row in scores["modes"][shown]["by_size"]],
        differences=[_difference_row(row) for row in scores["differences"]],
        marks=[
            (mode, mark, names) for mode in modes for mark, names in scores["modes"][mode]["marks"].items()
        ],
        response=response,
        comparison=_comparison(scores, shown),
        figures={name: html.inline_png(out / f"{name}.png") for name in pictures},
        overlays=_overlays(out, cases, scores["files"]),
        facts=_facts(scores["environment"]),
    )
    return page


_CASE_COLUMNS = {
    "case": "case",
    "liver_dice_per_case": "liver Dice",
    "lesion_dice_per_case": "tumour Dice",
    "liver_assd": "liver ASSD, mm",
    "true_reference": "lesions found",
    "false_negative": "lesions missed",
    "false_positive": "false positives",
    "tumour_reference_ml": "tumour, mL",
    "tumour_prediction_ml": "predicted, mL",
}


def _number(value: float | str | None, digits: int = 3) -> str:
    if value is None or value == "":
        return "-"
    return f"{float(value):.{digits}f}"


def _score_rows(modes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a score: value and interval in each mode, and whether the modes differ."""
    first = next(iter(modes.values()))
    rows = []
    for group in ("scores", "extra"):
        for name in first[group]:
            values = [mode[group][name] for mode in modes.values()]
            cells = []
            for value, mode in zip(values, modes.values(), strict=True):
                ends = mode["intervals"].get(name)
                cells.append((_number(value), f"{_number(ends[0])} to {_number(ends[1])}" if ends else ""))
            rows.append({"name": name, "cells": cells, "differs": len({cell[0] for cell in cells}) > 1})
    return rows


def _case_row(row: CaseRow) -> list[str]:
    counts = ("true_reference", "false_negative", "false_positive")
    return [row[name] if name == "case" or name in counts else _number(row[name]) for name in _CASE_COLUMNS]


def _size_row(row: Mapping[str, Any]) -> list[str]:
    size = f"{row['from_mm']:g} to {row['to_mm']:g} mm" if row["to_mm"] else f"from {row['from_mm']:g} mm"
    shares = [_number(row[name]) for name in ("touched", "detected", "dice", "dice_touched")]
    return [size, str(row["lesions"]), *shares]


def _difference_row(row: Mapping[str, Any]) -> list[str]:
    sides = [", ".join(map(str, row[side])) for side in ("reference_lesions", "predicted_lesions")]
    return [row["case"], *sides, row["cause"]]


def _comparison(scores: Mapping[str, Any], mode: str) -> dict[str, Any] | None:
    """The second method beside the first; a difference inside the noise is called just that."""
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
    return {"first": comparison["first"], "second": comparison["second"], "rows": rows}


def _overlays(
    out: Path, cases: Sequence[CaseRow], paths: Mapping[str, Mapping[str, str | None]]
) -> list[tuple[str, str]]:
    """Title and picture of the best, the median and the worst case of those whose CT is known."""
    ranked = sorted(
        (row for row in cases if paths[row["case"]]["image"]), key=lambda row: float(row[RANKED_BY])
    )
    if not ranked:
        return []
    chosen = {"best": ranked[-1], "median": ranked[len(ranked) // 2], "worst": ranked[0]}
    pictures, seen = [], set()
    for rank, row in chosen.items():
        if row["case"] in seen:
            continue
        seen.add(row["case"])
        picture = out / f"overlay_{rank}.png"
        title = f"{rank}: {row['case']}, tumour Dice {_number(row[RANKED_BY])}"
        _draw_overlay(picture, paths[row["case"]], title)
        pictures.append((title, html.inline_png(picture)))
    return pictures


def _draw_overlay(picture: Path, paths: Mapping[str, str | None], title: str) -> None:
    image = nifti.read_image(paths["image"] or "")
    truth, prediction = (_labels_on(image, paths[side] or "") for side in ("reference", "prediction"))
    slices = overlays.choose_slices(truth, SLICES)
    figure = overlays.overlay_figure(
        image.array_DHW, truth, prediction, image.spacing_mm, slices, title=title
    )
    style.save(figure, picture)


def _labels_on(image: nifti.Volume, path: str) -> NDArray[np.uint8]:
    """Labels paired with the image voxel by voxel, or, where they lie along other axes, by their header."""
    paired = nifti.read_grid(path).shape_IJK == image.grid.shape_IJK
    return nifti.read_labels(path, like=image.grid if paired else None).array_DHW


def _facts(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    versions, hardware = dict(environment["versions"]), environment["hardware"]
    package, python = versions.pop("dsdenseunet"), versions.pop("python")
    libraries = ", ".join(f"{name} {version}" for name, version in versions.items())
    return [
        ("dsdenseunet", f"{package}, commit {environment['commit'] or 'unknown'}"),
        ("Python", f"{python}; {libraries}"),
        ("machine", f"{hardware['processor']}, {hardware['cpu_cores']} cores, {hardware['system']}"),
    ]
