"""How a run went: training loss of all phases, as in the paper's figure 2, and validation Dice."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dsdenseunet.reporting.style import FAINT, GREY, INK, PHASE_COLOURS, plain
from dsdenseunet.tasks.colours import COLOURS

Metrics = Sequence[Mapping[str, Any]]


def selection(validation: Mapping[str, float]) -> float:
    """What a validation's scores are worth when the best weights are chosen."""
    return validation.get("selection", validation["mean_dice"])


def loss_figure(metrics: Metrics) -> Figure:
    """Training loss of all phases over the steps of the whole run: each step, and its running mean."""
    figure, axis = _curve("optimiser step", "training loss (log scale)")
    offsets = _phase_offsets(metrics)
    for number, (phase, offset) in enumerate(offsets.items()):
        lines = [line for line in metrics if line["phase"] == phase and "loss" in line]
        steps = np.array([offset + line["step"] for line in lines])
        loss = np.array([line["loss"] for line in lines])
        colour = PHASE_COLOURS[number % len(PHASE_COLOURS)]
        axis.plot(steps, loss, color=colour, alpha=0.3, linewidth=0.8)
        # A single step makes no line.
        marker = "o" if len(steps) == 1 else ""
        axis.plot(steps, _smooth(loss), color=colour, linewidth=2, marker=marker)
    axis.set_yscale("log")
    axis.grid(which="minor", axis="y", color=FAINT, linewidth=0.4)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(lambda value, _: f"{value:.2g}" if f"{value:.0e}"[0] in "25" else "")
    axis.tick_params(axis="y", which="minor", labelsize=8, colors=GREY, length=0)
    _finish(axis, offsets)
    return figure


def dice_figure(metrics: Metrics) -> Figure:
    """Validation Dice of each region over the steps; a ring marks the weights that each phase kept."""
    figure, axis = _curve("optimiser step", "validation Dice")
    offsets = _phase_offsets(metrics)
    known: Mapping[str, float] = next((line["validation"] for line in metrics if "validation" in line), {})
    names = [name.removesuffix("_dice") for name in known if name.endswith("_dice") and name != "mean_dice"]
    for name, colour in zip(names, itertools.cycle(COLOURS)):
        for phase, offset in offsets.items():
            lines = [line for line in metrics if line["phase"] == phase and "validation" in line]
            steps = [offset + line["step"] for line in lines]
            values = [line["validation"][f"{name}_dice"] for line in lines]
            shown = name if phase == next(iter(offsets)) else None
            axis.plot(steps, values, color=colour, marker="o", markersize=3.5, linewidth=1.6, label=shown)
            if lines:
                best = int(np.argmax([selection(line["validation"]) for line in lines]))
                ring: dict[str, Any] = {
                    "marker": "o",
                    "markersize": 10,
                    "markerfacecolor": "none",
                    "linestyle": "none",
                }
                text = "best of the phase" if name == names[-1] and phase == list(offsets)[-1] else None
                axis.plot(steps[best], values[best], color=INK, label=text, **ring)
    axis.set_ylim(0, 1.02)
    _finish(axis, offsets)
    return figure


def _curve(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axis = figure.subplots()
    axis.set_xlabel(x_label, color=GREY)
    axis.set_ylabel(y_label, color=GREY)
    plain(axis)
    return figure, axis


def phases_of(metrics: Metrics) -> list[str]:
    """The phases that are there, in the order of their first lines, which is the run's."""
    return list(dict.fromkeys(line["phase"] for line in metrics))


def _phase_offsets(metrics: Metrics) -> dict[str, int]:
    """For each phase that is there the steps of those before it."""
    offsets, total = {}, 0
    for phase in phases_of(metrics):
        offsets[phase] = total
        total += max(line["step"] for line in metrics if line["phase"] == phase)
    return offsets


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian-weighted geometric mean, 1/25 of the phase wide: what the eye sees on a log scale."""
    steps = np.arange(len(values))
    sigma = max(len(values) / 25, 1.0)
    weight = np.exp(-0.5 * ((steps[:, None] - steps) / sigma) ** 2)
    return np.exp(weight @ np.log(np.maximum(values, 1e-12)) / weight.sum(axis=1))


def _finish(axis: Axes, offsets: Mapping[str, int]) -> None:
    """Separates the phases by a line and names them; adds the legend."""
    for phase, offset in offsets.items():
        if offset:
            axis.axvline(offset, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        axis.annotate(
            phase,
            (offset, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, 3),
            textcoords="offset points",
            color=GREY,
            fontsize=9,
        )
    axis.set_xlim(left=0)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, labelcolor=INK, fontsize=9)
