"""Score tables: what scores.json says of LiTS, in words, as a picture and as rows for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dsdenseunet.reporting.style import FAINT, GREY, INK

SCORE_HEADINGS = ("score", "liver", "tumour", "unit", "best is")
# Title, official or extra name for liver and for tumour ("" for none), format, unit, best value.
_SCORES = (
    ("Dice, mean over cases", "liver_dice_per_case", "lesion_dice_per_case", "{:.3f}", "", "1"),
    ("Dice, all voxels pooled", "liver_dice_global", "lesion_dice_global", "{:.3f}", "", "1"),
    ("surface Dice at 2 mm", "liver_surface_dice_2mm", "tumour_surface_dice_2mm", "{:.3f}", "", "1"),
    ("volume overlap error", "liver_voe", "", "{:.3f}", "", "0"),
    ("average surface distance", "liver_assd", "", "{:.2f}", "mm", "0"),
    ("largest surface distance", "liver_msd", "", "{:.1f}", "mm", "0"),
    ("volume error", "liver_volume_error_ml", "tumour_volume_error_ml", "{:.1f}", "mL", "0"),
    ("lesions touched (recall)", "", "lesion_recall_greater_zero", "{:.2f}", "", "1"),
    ("predicted lesions that are real (precision)", "", "lesion_precision_greater_zero", "{:.2f}", "", "1"),
    ("error of the tumour burden", "", "RMSE_Tumorburden", "{:.3f}", "share", "0"),
)


def score_rows(scores: Mapping[str, Any], mode: str = "corrected") -> list[tuple[str, ...]]:
    """Rows under `SCORE_HEADINGS` from what scores.json holds; "-" where a score is not defined.

    Args:
        scores: the document that `evaluation.folder.evaluate` writes.
        mode: scoring mode; it must be shown beside the table.
    """
    known = {**scores["modes"][mode]["extra"], **scores["modes"][mode]["scores"]}

    def cell(name: str, form: str) -> str:
        if not name:
            return ""
        value = known[name]
        return "-" if value is None else form.format(value)

    return [
        (title, cell(liver, form), cell(tumour, form), unit, best)
        for title, liver, tumour, form, unit, best in _SCORES
    ]


def table_figure(headings: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> Figure:
    """A table as a picture: the first column left-aligned, the others right-aligned."""
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings))]
    inches = np.array(widths) * 0.088 + 0.35
    height = 0.32 * (len(rows) + 1) + 0.3 + (0.3 if note else 0)
    figure = Figure(figsize=(float(inches.sum()) + 0.3, height))
    width = figure.get_figwidth()
    right = 0.15 + np.cumsum(inches)

    def y(line: float) -> float:
        return 1 - (0.15 + 0.32 * line) / height

    def rule(line: float, colour: str, weight: float) -> None:
        ends = (0.1 / width, 1 - 0.1 / width)
        figure.add_artist(Line2D(ends, (y(line), y(line)), color=colour, linewidth=weight))

    for number, row in enumerate([headings, *rows]):
        style: dict[str, Any] = {"fontsize": 10, "va": "center", "color": GREY if number == 0 else INK}
        for column, text in enumerate(row):
            x = 0.15 if column == 0 else right[column] - 0.1
            figure.text(x / width, y(number + 0.5), text, ha="left" if column == 0 else "right", **style)
        rule(number + 1, GREY if number == 0 else FAINT, 1.0 if number == 0 else 0.6)
    if note:
        figure.text(0.15 / width, y(len(rows) + 1.5), note, fontsize=8, color=GREY, va="center")
    return figure
