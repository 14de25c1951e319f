"""Pictures of a data set's fingerprint beside what was chosen for it, and of what fits the card."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dsdenseunet.reporting.style import FAINT, GREY, INK, plain
from dsdenseunet.tasks.colours import COLOURS

_AXES = ("D (slices)", "H (rows)", "W (columns)")
_GIB = 2**30
# Values that differ by more are drawn by their logarithm.
_WIDE = 100


def sizes_figure(record: Mapping[str, Any], patch: Sequence[int]) -> Figure:
    """Each case's sides and spacings along D, H and W, and the boxes of its regions, beside the patch.

    Voxels are those that the network sees, after resampling; spacings are the scans'.
    """
    common = record["task"]["spacing_mm"]
    cases, regions = record["cases"], list(record["summary"]["regions"])

    def zoom(case: Mapping[str, Any], axis: int) -> float:
        return case["spacing_mm"][axis] / common[axis] if common else 1.0

    figure = Figure(figsize=(9, 5.2), layout="constrained")
    rows = figure.subplots(2, 3, height_ratios=(2, 1))
    for axis, (above, below) in enumerate(zip(*rows)):
        _plain(above)
        above.plot(
            _spread(cases), sorted(case["shape"][axis] * zoom(case, axis) for case in cases), ".", color=GREY
        )
        for name, colour in zip(regions, itertools.cycle(COLOURS)):
            having = [case for case in cases if name in case["regions"]]
            boxes = [(*case["regions"][name]["box"][axis], zoom(case, axis)) for case in having]
            sides = sorted((stop - start) * factor for start, stop, factor in boxes)
            above.plot(_spread(sides), sides, ".", color=colour)
        above.axhline(patch[axis], color=INK, linewidth=1.2, linestyle="--")
        above.set_ylim(bottom=0)
        above.set_title(_AXES[axis], fontsize=10, color=INK)
        _plain(below)
        below.plot(_spread(cases), sorted(case["spacing_mm"][axis] for case in cases), ".", color=INK)
        if common:
            below.axhline(common[axis], color=COLOURS[2], linewidth=1.2, linestyle="--")
        below.set_ylim(bottom=0)
        for panel in (above, below):
            panel.set_xlim(-0.03, 1.03)
            panel.set_xticks([0, 1], ["smallest", "largest"])
    rows[0][0].set_ylabel("voxels", color=GREY, fontsize=9)
    rows[1][0].set_ylabel("mm (dashed: all)" if common else "spacing, mm", color=GREY, fontsize=9)
    names = [("image", GREY), *zip(regions, itertools.cycle(COLOURS))]
    handles = [figure.axes[0].plot([], [], "o", color=colour, label=name)[0] for name, colour in names]
    handles.append(figure.axes[0].plot([], [], "--", color=INK, label="patch")[0])
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(6, len(handles)), frameon=False, fontsize=9
    )
    return figure


def intensities_figure(record: Mapping[str, Any], channel: int, ends: Sequence[float] = ()) -> Figure:
    """Where 99 % of each case's labelled voxels lie, by their median, within all values of the case.

    Args:
        record: the fingerprint's JSON.
        channel: which one.
        ends: of its window; empty where it has none.
    """
    cases = [case for case in record["cases"] if case["foreground"][channel]]
    cases.sort(key=lambda case: case["foreground"][channel]["median"])
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axis = figure.subplots()
    _plain(axis)
    places = range(len(cases))
    for kind, colour, width in (("everything", FAINT, 3.0), ("foreground", COLOURS[2], 1.4)):
        found = [case[kind][channel] for case in cases]
        axis.vlines(
            places,
            [one["low"] for one in found],
            [one["high"] for one in found],
            color=colour,
            linewidth=width,
            label={"everything": "all voxels", "foreground": "labelled voxels"}[kind],
        )
    axis.plot(places, [case["foreground"][channel]["median"] for case in cases], ".", color=INK, markersize=4)
    if ends:
        axis.axhspan(*ends, color=COLOURS[0], alpha=0.12, label="window", zorder=0)
    highs = sorted(case["foreground"][channel]["high"] for case in cases)
    if not ends and highs and highs[0] > 0 and highs[-1] > _WIDE * highs[0]:
        axis.set_yscale("symlog", linthresh=max(1.0, highs[0]))
    axis.set_xticks([])
    axis.set_xlabel("cases, by the median of their labelled voxels (dot)", color=GREY, fontsize=9)
    figure.legend(loc="outside upper right", ncols=3, frameon=False, fontsize=9)
    return figure


def classes_figure(record: Mapping[str, Any]) -> Figure:
    """The share of each class among all voxels, on a logarithmic scale."""
    shares = record["summary"]["class_shares"]
    figure = Figure(figsize=(9, 0.7 + 0.34 * len(shares)), layout="constrained")
    axis = figure.subplots()
    _plain(axis)
    names = list(reversed(shares))
    values = [100 * shares[name] for name in names]
    colours = [GREY if name == next(iter(shares)) else COLOURS[2] for name in names]
    axis.barh(names, values, color=colours, height=0.55)
    axis.set_xscale("log")
    axis.set_xlim(right=400)
    for place, value in enumerate(values):
        axis.annotate(f" {value:.3g} %", (max(value, axis.get_xlim()[0]), place), va="center", fontsize=9)
    axis.set_xlabel("share of all voxels, %", color=GREY, fontsize=9)
    return figure


def memory_figure(memory: Mapping[str, Any]) -> Figure:
    """What a training step needs with each patch, beside what the card has."""
    chosen = memory["chosen"]
    rows = [row for row in memory["rows"] if row["memory"]]
    if chosen not in rows:
        rows.append(chosen)
    rows.sort(key=lambda row: row["memory"]["total"])
    # Patches far beyond the card say no more.
    rows = [
        row for row in rows if row["memory"]["total"] <= 4 * memory["available_gib"] * _GIB or row == chosen
    ]
    figure = Figure(figsize=(9, 0.9 + 0.27 * len(rows)), layout="constrained")
    axis = figure.subplots()
    _plain(axis)
    labels = [
        f"{row['batch']} of {' x '.join(map(str, row['patch']))}, {row['dtype']}, remat {row['remat']}"
        for row in rows
    ]
    axis.barh(
        range(len(rows)),
        [row["memory"]["total"] / _GIB for row in rows],
        color=[COLOURS[0] if row == chosen else COLOURS[2] for row in rows],
        alpha=0.9,
        height=0.6,
        hatch=["" if row["status"] == "compiled" else "///" for row in rows],
        edgecolor="white",
    )
    axis.set_yticks(range(len(rows)), labels, fontsize=8)
    axis.axvline(memory["available_gib"], color=INK, linewidth=1.2)
    axis.axvspan(
        memory["available_gib"] / (1 + memory["headroom"]), memory["available_gib"], color=FAINT, zorder=0
    )
    axis.set_xlabel("GiB; hatched: by the law through what was compiled", color=GREY, fontsize=9)
    return figure


def _spread(values: Sequence[Any]) -> list[float]:
    """Places from 0 to 1 for so many values in order."""
    return [place / max(1, len(values) - 1) for place in range(len(values))]


def _plain(axis: Axes) -> None:
    plain(axis)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=8)
