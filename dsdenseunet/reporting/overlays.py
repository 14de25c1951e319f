"""Overlays of labels on slices of an image, as in the paper's figure 5."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dsdenseunet.reporting.slices import for_display
from dsdenseunet.reporting.style import GREY, INK
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.colours import COLOURS
from dsdenseunet.tasks.task import Region, Task

# Hounsfield units shown without windowing: from air to dense bone.
FULL_RANGE = (-1000.0, 1000.0)
# Inches.
_COLUMN = 2.6
# Of the regions, in turn: in words, and lengths of dashes and gaps.
_OUTLINES: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("solid outline", ()),
    ("dashed outline", (2.0, 1.6)),
    ("dotted outline", (0.8, 1.2)),
)
_MARGIN = {"left": 0.3, "top": 0.66, "bottom": 0.35}


def overlay_figure(
    image_DHW: NDArray[Any],
    truth_DHW: NDArray[np.uint8],
    prediction_DHW: NDArray[np.uint8],
    spacing_mm: tuple[float, float, float],
    slices: Sequence[int],
    task: Task = lits.TASK,
    title: str = "",
) -> Figure:
    """One row per slice: the first channel as it is and as the network takes it, the truth, the prediction.

    Shown as a radiologist sees it: front up, the patient's right side on the left.
    """
    channel = task.channels[0]
    if channel.is_hounsfield:
        lower, upper = channel.numbers
        whole, window = FULL_RANGE, (lower, upper)
        unit = " HU"
    else:
        lowest, low, high, highest = map(float, np.percentile(image_DHW, (0, 1, 99, 100)))
        whole, window = (lowest, highest), (low, high)
        unit = ""
    headings = (
        f"{channel.name}, {whole[0]:g} to {whole[1]:g}{unit}",
        f"windowed, {window[0]:g} to {window[1]:g}{unit}",
        "truth",
        "prediction",
    )
    shape_mm = [sides * spacing for sides, spacing in zip(image_DHW.shape, spacing_mm)]
    figure, axes = _grid(len(slices), len(headings), row_over_column=shape_mm[1] / shape_mm[2])
    for row, index in zip(axes, slices):
        image_HW = image_DHW[index].astype(np.float32)
        windowed = _grey(image_HW, window)
        pictures = [_grey(image_HW, whole), windowed]
        both = (truth_DHW[index], prediction_DHW[index])
        pictures += [_overlay(windowed, labels_HW, task.regions) for labels_HW in both]
        for axis, picture in zip(row, pictures):
            axis.imshow(for_display(picture), aspect=spacing_mm[1] / spacing_mm[2], interpolation="bilinear")
        for axis, labels in zip(row[2:], (truth_DHW, prediction_DHW)):
            _contours(axis, labels[index], task.regions)
        _write(row[0], 0.02, 0.5, "R")
        _write(row[0], 0.98, 0.5, "L")
        row[0].set_ylabel(f"slice {index + 1}", fontsize=9, color=GREY)
        dice = [
            f"{region.name} {_dice(region.mask(truth_DHW[index]), region.mask(prediction_DHW[index])):.2f}"
            for region in task.regions
        ]
        _write(row[-1], 0.97, 0.04, "Dice  " + "  ".join(dice))
    for axis, heading in zip(axes[0], headings):
        axis.set_title(heading, fontsize=10, color=INK, pad=5)
    _frame(figure, title, task.regions)
    return figure


def _grid(rows: int, columns: int, row_over_column: float) -> tuple[Figure, NDArray[Any]]:
    """Tight axes without ticks; _MARGIN inches stay free around them."""
    width = columns * _COLUMN + _MARGIN["left"]
    height = rows * _COLUMN * row_over_column + _MARGIN["top"] + _MARGIN["bottom"]
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(
        rows,
        columns,
        squeeze=False,
        gridspec_kw={
            "wspace": 0.03,
            "hspace": 0.03,
            "left": _MARGIN["left"] / width,
            "right": 0.995,
            "top": 1 - _MARGIN["top"] / height,
            "bottom": _MARGIN["bottom"] / height,
        },
    )
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        for side in axis.spines.values():
            side.set_visible(False)
    return figure, axes


def _frame(figure: Figure, title: str, regions: Sequence[Region]) -> None:
    """Title above and the regions' colours below."""
    width, height = figure.get_size_inches()
    left = _MARGIN["left"] / width
    # A letter is about half as wide as the font is high; a point is 1/72 inch.
    fits = 72 * (width - _MARGIN["left"]) / (0.55 * max(len(title), 1))
    figure.text(left, 1 - 0.2 / height, title, fontsize=min(12.0, fits), color=INK, va="center")
    shown = zip(regions, itertools.cycle(COLOURS), itertools.cycle(_OUTLINES))
    for position, (region, colour, (outline, _)) in enumerate(shown):
        x, y = left + 2.0 * position / width, 0.17 / height
        figure.text(x, y, "\N{BLACK SQUARE}", color=colour, fontsize=11, va="center")
        figure.text(x + 0.18 / width, y, f"{region.name} ({outline})", color=INK, fontsize=9, va="center")


def _grey(image_HW: NDArray[np.float32], window: tuple[float, float]) -> NDArray[np.float32]:
    """The windowed slice as RGB (H, W, 3) in [0, 1]."""
    lower, upper = window
    grey = np.clip((image_HW - lower) / max(upper - lower, 1e-6), 0, 1).astype(np.float32)
    return np.repeat(grey[..., None], 3, axis=-1)


def _overlay(
    rgb_HW3: NDArray[np.float32], labels_HW: NDArray[np.uint8], regions: Sequence[Region], alpha: float = 0.38
) -> NDArray[Any]:
    """Each voxel in the colour of the last region that it belongs to."""
    result = rgb_HW3.copy()
    for region, colour in zip(regions, itertools.cycle(COLOURS)):
        where = region.mask(labels_HW)
        result[where] = (1 - alpha) * rgb_HW3[where] + alpha * np.array(to_rgb(colour), np.float32)
    return result


def _contours(axis: Axes, labels_HW: NDArray[np.uint8], regions: Sequence[Region]) -> None:
    """Outlines of the regions, by colour and for those who cannot tell colours apart by their dashes."""
    for region, colour, (_, dashes) in zip(regions, itertools.cycle(COLOURS), itertools.cycle(_OUTLINES)):
        mask = for_display(region.mask(labels_HW)).astype(np.float32)
        if not 0 < mask.mean() < 1:
            continue
        if dashes:
            axis.contour(mask, levels=[0.5], colors=["white"], linewidths=1.5)
        axis.contour(mask, levels=[0.5], colors=[colour], linewidths=1.5, linestyles=[(0, dashes)])


def _write(axis: Axes, x: float, y: float, text: str) -> None:
    """White on a dark patch, legible on bone too; x and y are shares of the axes."""
    axis.text(
        x,
        y,
        text,
        transform=axis.transAxes,
        ha="left" if x < 0.5 else "right",
        va="center" if y == 0.5 else "bottom",
        color="white",
        fontsize=8,
        bbox={"facecolor": "black", "alpha": 0.55, "linewidth": 0, "pad": 1.8},
    )


def _dice(truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> float:
    total = int(truth.sum()) + int(prediction.sum())
    return 2 * int((truth & prediction).sum()) / total if total else 1.0
