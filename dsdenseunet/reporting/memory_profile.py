"""The picture of a memory profile: what a step holds over its time, and what exactly at the peak."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from dsdenseunet.reporting.style import FAINT, GREY, INK, save

# Okabe and Ito's, which the colour-blind can tell apart, from the bottom up.
COLOURS = {
    "parameters": "#999999",
    "optimizer": "#555555",
    "batch": "#f0e442",
    "kept activations": "#0072b2",
    "other activations": "#56b4e9",
    "gradients": "#d55e00",
    "workspace": "#cc79a7",
}
_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
# Of the peak: stages with less are drawn as one.
_SMALL, _OTHERS = 0.005, "all others"
_BYTES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def draw(found: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Draws what `memory.alive.profile.profile` returns, to a PNG or PDF file.

    On the left memory over the time of the step, on the right the stages at the peak, in the same colours.
    """
    stages = _drawn(found)
    figure = Figure(figsize=(11, max(4.6, 2.2 + 0.24 * len(stages))), layout="constrained")
    over, beside = figure.subplots(1, 2, width_ratios=(1.5, 1))
    reserved = sum(found["reserved"].values())
    unit, divisor = next((pair for pair in _UNITS if reserved >= pair[1]), _UNITS[-1])
    _over_time(over, found, reserved, unit, divisor)
    _at_the_peak(beside, stages, found["peak"]["bytes"], unit, divisor)
    handles, labels = over.get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=10, loc="outside lower center", ncols=4)
    setting = found["setting"]
    figure.suptitle(
        f"{found['config']} on {found['device_kind']}: one training step of {setting['batch']} x "
        f"({' x '.join(map(str, setting['patch']))}), {setting['dtype']}, remat {setting['remat']}",
        fontsize=12,
        color=INK,
    )
    save(figure, path)


def _over_time(panel: Any, found: Mapping[str, Any], reserved: int, unit: str, divisor: int) -> None:
    time, peak = found["time"], found["peak"]
    end = max(1, time["moved"][-1])
    bytes_unit, factor = next((pair for pair in _BYTES if end >= pair[1]), _BYTES[-1])
    moved = [size / factor for size in time["moved"]]
    kinds = [kind for kind in COLOURS if any(time["kinds"][kind])]
    sizes = [[size / divisor for size in time["kinds"][kind]] for kind in kinds]
    panel.stackplot(
        moved, sizes, labels=kinds, colors=[COLOURS[kind] for kind in kinds], step="pre", linewidth=0
    )
    panel.axhline(reserved / divisor, color=INK, linewidth=1, linestyle="--")
    panel.annotate(
        f"reserved {reserved / divisor:.2f} {unit}",
        (0, reserved / divisor),
        (4, 5),
        textcoords="offset points",
        fontsize=10,
        color=INK,
    )
    at = (peak["share"] * end / factor, peak["bytes"] / divisor)
    panel.plot(*at, "o", color=INK, markersize=6, label="peak")
    begins = {"forward": 0, **time["passes"], "": end}
    for (name, start), stop in zip(begins.items(), list(begins.values())[1:]):
        if start:
            panel.axvline(start / factor, color=GREY, linewidth=0.8)
        if stop - start > 0.08 * end:
            middle = (start + stop) / 2 / end
            panel.text(middle, 1.0, name, transform=panel.transAxes, ha="center", va="bottom", color=INK)
    panel.set(xlim=(0, end / factor), ylim=(0, 1.15 * reserved / divisor))
    panel.set_xlabel(f"{bytes_unit} read and written so far", fontsize=11)
    panel.set_ylabel(f"{unit} alive", fontsize=11)
    panel.spines[["top", "right"]].set_visible(False)


def _drawn(found: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Bytes by stage and kind, the small stages as one."""
    rows: dict[str, dict[str, int]] = {}
    others: dict[str, int] = {}
    for stage in [stage for stage in found["stages"] if stage in found["kinds"]]:
        row = found["kinds"][stage]
        if sum(row.values()) >= _SMALL * found["peak"]["bytes"]:
            rows[stage] = row
        else:
            others = {kind: others.get(kind, 0) + row.get(kind, 0) for kind in COLOURS}
    return {**rows, _OTHERS: others} if others else rows


def _at_the_peak(
    panel: Any, stages: Mapping[str, Mapping[str, int]], peak: int, unit: str, divisor: int
) -> None:
    rows = range(len(stages))
    reached = [0.0] * len(stages)
    for kind, colour in COLOURS.items():
        sizes = [row.get(kind, 0) / divisor for row in stages.values()]
        panel.barh(rows, sizes, left=reached, color=colour, height=0.75)
        reached = [left + size for left, size in zip(reached, sizes)]
    most = max(reached)
    for row, size in zip(rows, reached):
        panel.text(size + 0.01 * most, row, f"{size:.2f}", va="center", fontsize=9, color=INK)
    panel.set_yticks(list(rows), list(stages), fontsize=10)
    panel.invert_yaxis()
    panel.set_xlim(0, 1.15 * most)
    panel.set_title(f"at the peak, {peak / divisor:.2f} {unit}", fontsize=11, color=INK)
    panel.set_xlabel(unit, fontsize=11)
    panel.grid(axis="x", color=FAINT, linewidth=0.5)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
