"""The picture of a memory plan: what a training step needs over batch and patch, and what the card has."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from dsdenseunet.reporting.style import FAINT, GREY, INK, save

_COLOURS = ("#1c7ed6", "#7048e8", "#e8590c")
_LINES = {"none": "-", "layer": "--"}
_GIB = 2**30


def draw(plan: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Draws a plan as `planner.plan.make_plan` returns it: one panel per precision, to a PNG file."""
    rows = [row for row in plan["rows"] if row["memory"] and row["accumulate"] == 1]
    dtypes = sorted({row["dtype"] for row in rows}, reverse=True)
    patches = sorted({tuple(row["patch"]) for row in rows}, reverse=True)
    figure = Figure(figsize=(max(7.5, 5.2 * len(dtypes)), 5.2), layout="constrained")
    panels = figure.subplots(1, max(1, len(dtypes)), sharey=True, squeeze=False)[0]
    for panel, dtype in zip(panels, dtypes):
        for colour, patch in zip(itertools.cycle(_COLOURS), patches):
            for remat, line in _LINES.items():
                points = sorted(
                    (row["batch"], row["memory"]["total"] / _GIB, row["status"] == "compiled")
                    for row in rows
                    if (row["dtype"], row["remat"], tuple(row["patch"])) == (dtype, remat, patch)
                )
                if not points:
                    continue
                batches, sizes, compiled = zip(*points)
                label = f"{' x '.join(map(str, patch))}, remat {remat}"
                panel.plot(batches, sizes, line, color=colour, linewidth=1.4, label=label)
                known = [(b, size) for b, size, exact in zip(batches, sizes, compiled) if exact]
                if known:
                    panel.plot(*zip(*known), "o", color=colour, markersize=5)
        panel.axhline(plan["available_gib"], color=GREY, linewidth=1)
        usable = plan["available_gib"] / (1 + plan["headroom"])
        panel.axhspan(usable, plan["available_gib"], color=FAINT, zorder=0)
        best = plan["recommended"]
        if best is not None and best["dtype"] == dtype:
            at = (best["batch"], best["memory"]["total"] / _GIB)
            panel.plot(*at, "*", color=INK, markersize=15, zorder=5)
            panel.annotate("recommended", at, (-8, 6), textcoords="offset points", ha="right", fontsize=9)
        panel.set(title=dtype, xlabel="patches at once")
        panel.set_ylim(0, 2 * plan["available_gib"])
        panel.grid(color=FAINT, linewidth=0.5)
        panel.spines[["top", "right"]].set_visible(False)
    # Every panel draws the same lines: one legend, a column a patch.
    labelled = {
        label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels())
    }
    if labelled:
        figure.legend(
            labelled.values(),
            labelled,
            frameon=False,
            fontsize=8,
            loc="outside lower center",
            ncols=len(patches),
        )
    panels[0].set_ylabel("GiB on the device")
    kind = ", an estimate by the CPU's compiler" if plan["is_estimate"] else ""
    figure.suptitle(
        f"{plan['config']} on {plan['device_kind']}: training{kind}\n"
        "dots compiled, lines by the law through them; grey: the card's limit and the headroom under it",
        fontsize=9,
        color=INK,
    )
    save(figure, path)
