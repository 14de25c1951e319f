"""Overlays of labels on CT slices, as in the paper's figure 5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dsdenseunet.data.nifti import for_display
from dsdenseunet.reporting.style import COLOURS, GREY, INK, LIVER, TUMOUR

# Hounsfield units shown without windowing: from air to dense bone.
FULL_RANGE = (-1000.0, 1000.0)


def choose_slices(truth_DHW: NDArray[np.uint8], count: int) -> list[int]:
    """Slices worth looking at, from the feet up: large tumour areas that are not neighbours.

    The slice with the largest area comes first, then again and again the largest at least a sixth of the
    volume away from those chosen (less, where that leaves too few). Where there is no tumour, the liver
    counts.
    """
    label = TUMOUR if np.any(truth_DHW == TUMOUR) else LIVER
    areas = np.count_nonzero(truth_DHW == label, axis=(1, 2))
    order = np.argsort(-areas, kind="stable")
    distance = max(len(areas) // 6, 1)
    chosen: list[int] = []
    while distance and len(chosen) < min(count, len(areas)):
        chosen = []
        for index in order:
            if len(chosen) < count and all(abs(int(index) - other) >= distance for other in chosen):
                chosen.append(int(index))
        distance -= 1
    return sorted(chosen)


def overlay_figure(
    image_DHW: NDArray[np.int16],
    truth_DHW: NDArray[np.uint8],
    prediction_DHW: NDArray[np.uint8],
    spacing_mm: tuple[float, float, float],
    slices: Sequence[int],
    hu_window: tuple[float, float] = (-200.0, 250.0),
    title: str = "",
) -> Figure:
    """One row a slice: the CT, the CT in the network's window, the expert's labels, the prediction.

    Shown as a radiologist sees it: front up, the patient's right side on the left.
    """
    lower, upper = hu_window
    headings = (
        f"CT, {FULL_RANGE[0]:g} to {FULL_RANGE[1]:g} HU",
        f"windowed, {lower:g} to {upper:g} HU",
        "expert",
        "network",
    )
    height, width = image_DHW.shape[1] * spacing_mm[1], image_DHW.shape[2] * spacing_mm[2]
    side = 2.6
    row = side * height / width
    top = 0.75
    figure = Figure(figsize=(4 * side + 0.5, len(slices) * row + top + 0.35))
    total = figure.get_figheight()
    axes = figure.subplots(
        len(slices),
        4,
        squeeze=False,
        gridspec_kw={
            "wspace": 0.03,
            "hspace": 0.03,
            "left": 0.5 / figure.get_figwidth(),
            "right": 0.995,
            "top": 1 - top / total,
            "bottom": 0.35 / total,
        },
    )
    for row_axes, index in zip(axes, slices):
        image_HW = image_DHW[index].astype(np.float32)
        shown = [_grey(image_HW, FULL_RANGE), _grey(image_HW, hu_window)]
        shown += [_overlay(shown[1], labels[index]) for labels in (truth_DHW, prediction_DHW)]
        for axis, picture in zip(row_axes, shown):
            axis.imshow(for_display(picture), aspect=spacing_mm[1] / spacing_mm[2], interpolation="bilinear")
            axis.set_axis_off()
        for axis, labels in zip(row_axes[2:], (truth_DHW, prediction_DHW)):
            _contours(axis, labels[index])
        _mark_sides(row_axes[0])
        first = row_axes[0]
        label = f"slice {index + 1}"
        first.text(
            -0.04, 0.5, label, transform=first.transAxes, rotation=90, ha="right", va="center", color=GREY
        )
        dice = "  ".join(
            f"{name} {_dice(truth_DHW[index] >= value, prediction_DHW[index] >= value):.2f}"
            for name, value in (("liver", LIVER), ("tumour", TUMOUR))
        )
        last = row_axes[3]
        last.text(
            0.97,
            0.03,
            f"Dice  {dice}",
            transform=last.transAxes,
            ha="right",
            va="bottom",
            color="white",
            fontsize=8,
        )
    for axis, heading in zip(axes[0], headings):
        axis.set_title(heading, fontsize=10, color=INK, pad=5)
    if title:
        figure.text(0.5 / figure.get_figwidth(), 1 - 0.2 / total, title, fontsize=12, color=INK, va="center")
    _legend(figure, total)
    return figure


def _grey(image_HW: NDArray[np.float32], window: tuple[float, float]) -> NDArray[np.float32]:
    """The windowed slice as RGB (H, W, 3) in [0, 1]."""
    lower, upper = window
    grey = np.clip((image_HW - lower) / (upper - lower), 0, 1).astype(np.float32)
    return np.repeat(grey[..., None], 3, axis=-1)


def _overlay(rgb_HW3: NDArray[np.float32], labels_HW: NDArray[np.uint8], alpha: float = 0.38) -> NDArray[Any]:
    result = rgb_HW3.copy()
    for label, colour in COLOURS.items():
        where = labels_HW == label
        result[where] = (1 - alpha) * result[where] + alpha * np.array(to_rgb(colour), np.float32)
    return result


def _contours(axis: Axes, labels_HW: NDArray[np.uint8]) -> None:
    for label, colour in COLOURS.items():
        mask = for_display(labels_HW >= label).astype(np.float32)
        if 0 < mask.mean() < 1:
            axis.contour(mask, levels=[0.5], colors=[colour], linewidths=1.0)


def _mark_sides(axis: Axes) -> None:
    """R and L of the patient, as on a film."""
    style: dict[str, Any] = {"color": "white", "fontsize": 8, "va": "center", "transform": axis.transAxes}
    axis.text(0.02, 0.5, "R", ha="left", **style)
    axis.text(0.98, 0.5, "L", ha="right", **style)


def _legend(figure: Figure, height: float) -> None:
    width = figure.get_figwidth()
    for position, (name, label) in enumerate((("liver", LIVER), ("tumour", TUMOUR))):
        x = (0.5 + 0.9 * position) / width
        y = 0.17 / height
        figure.text(x, y, "■", color=COLOURS[label], fontsize=11, va="center")
        figure.text(x + 0.18 / width, y, name, color=INK, fontsize=9, va="center")


def _dice(truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> float:
    total = int(truth.sum()) + int(prediction.sum())
    return 2 * int((truth & prediction).sum()) / total if total else 1.0
