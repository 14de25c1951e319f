"""Pictures of an evaluation: every case's Dice, and lesions found over false positives."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dsdenseunet.reporting.style import FAINT, GREY, INK
from dsdenseunet.tasks.colours import COLOURS

# Beyond this, names below the axis can't be read.
_MOST_NAMES = 40


def case_figure(rows: Sequence[Mapping[str, str]], mode: str, dice: Mapping[str, str]) -> Figure:
    """Dice of each region of each case, the worst of the last region first, one dot each.

    Args:
        rows: of cases.csv, all of one mode.
        mode: that mode.
        dice: region to the column of its Dice.
    """
    last = list(dice)[-1]
    ranked = sorted(rows, key=lambda row: (float(row[dice[last]]), row["case"]))
    figure, axis = _axis(f"cases, by {last} Dice ({mode})", "Dice")
    positions = range(len(ranked))
    for (name, column), colour in zip(dice.items(), itertools.cycle(COLOURS)):
        values = [float(row[column]) for row in ranked]
        axis.plot(positions, values, "o", color=colour, markersize=5, alpha=0.85, label=name)
        mean = sum(values) / len(values)
        axis.axhline(mean, color=colour, linewidth=1, linestyle=":")
        axis.annotate(
            f"mean {mean:.3f}",
            (1.005, mean),
            xycoords=("axes fraction", "data"),
            color=colour,
            fontsize=8,
        )
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlim(-0.7, len(ranked) - 0.3)
    if len(ranked) <= _MOST_NAMES:
        names = [row["case"].removeprefix("test-").removeprefix("segmentation-") for row in ranked]
        axis.set_xticks(list(positions), names, rotation=90 if len(ranked) > 12 else 0, fontsize=8)
    else:
        axis.set_xticks([])
    axis.legend(loc="lower right", frameon=False, fontsize=9)
    return figure


def free_response_figure(response: Mapping[str, Any]) -> Figure:
    """Share of the reference's lesions that are touched over false positives a case."""
    figure, axis = _axis("false positives a case (smallest predictions dropped first)", "lesions touched")
    curve = response["curve"]
    axis.plot(
        [point["false_positives"] for point in curve],
        [point["sensitivity"] for point in curve],
        drawstyle="steps-post",
        color=COLOURS[1],
        linewidth=1.8,
    )
    last = curve[-1]
    axis.plot(last["false_positives"], last["sensitivity"], "o", color=INK, markersize=5)
    axis.annotate(
        "nothing dropped",
        (last["false_positives"], last["sensitivity"]),
        xytext=(0, 6),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=GREY,
    )
    axis.set_ylim(-0.03, 1.12)
    return figure


def reliability_figure(calibration: Mapping[str, Any]) -> Figure:
    """Accuracy over confidence in bins, as the probabilities were saved and at the best temperature."""
    figure, axis = _axis("largest probability (mean of the bin)", "share of voxels that are right")
    figure.set_size_inches(4.6, 4.2)
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="what it says")
    after = f"at temperature {calibration['temperature']:.3g}"
    for (name, kind), colour in zip((("as saved", "as_saved"), (after, "with_temperature")), COLOURS[1:]):
        bins = [one for one in calibration[kind]["bins"] if one["voxels"]]
        points = [one["confidence"] for one in bins], [one["accuracy"] for one in bins]
        ece = calibration[kind]["ece"]
        axis.plot(*points, "o-", color=colour, markersize=4, linewidth=1.5, label=f"{name}, ECE {ece:.4f}")
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(-0.02, 1.02)
    axis.legend(loc="upper left", frameon=False, fontsize=8)
    return figure


def _axis(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axis = figure.subplots()
    axis.set_xlabel(x_label, fontsize=9, color=GREY)
    axis.set_ylabel(y_label, fontsize=9, color=GREY)
    axis.grid(axis="y", color=FAINT, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(colors=GREY, labelsize=8, length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(FAINT)
    return figure, axis
