"""A comparison as one self-contained page: tables, and validation Dice along the way."""

from __future__ import annotations

import functools
import itertools
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dsdenseunet.reporting import comparison_tables as tables
from dsdenseunet.reporting import html, pictures
from dsdenseunet.reporting.style import FAINT, GREY, INK
from dsdenseunet.tasks.colours import COLOURS


def write_comparison_page(path: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
    """Writes the page of a record of `experiments.compare`.

    Args:
        path: of the page; its pictures are inside.
        record: as the command's JSON has it.
    """
    with tempfile.TemporaryDirectory() as folder:
        drawn = [
            pictures.draw(
                Path(folder) / "curves.png",
                f"Validation Dice, {budget}",
                functools.partial(curves_figure, _of(budget, record["results"]), budget),
            )
            for budget in dict.fromkeys(result["budget"] for result in record["results"])
            if any(result.get("curve") for result in _of(budget, record["results"]))
        ]
    contenders = dict.fromkeys(row["contender"] for row in record["scored"])
    html.write_page(
        path,
        "comparison.html",
        title=f"Comparison on {record['data']}",
        lead=f"{', '.join(contenders)}: each with the same budget, on the same cases.",
        standings=tables.standings(record),
        pooled=tables.pooled(record),
        costs=tables.costs(record),
        seeds=tables.seeds(record),
        curves=drawn,
        about=tables.about(record),
    )


def curves_figure(results: Sequence[Mapping[str, Any]], budget: str) -> Figure:
    """Mean validation Dice over seconds of training, or over steps; a line a heat, a colour a contender.

    Args:
        results: of the heats with one budget.
        budget: `300s` puts seconds on the axis, anything else steps.
    """
    axis_name = "steps" if budget.endswith(("steps", "images")) else "seconds"
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axis = figure.subplots()
    names = dict.fromkeys(result["contender"] for result in results if result.get("curve"))
    colours = dict(zip(names, itertools.cycle(COLOURS)))
    labelled: set[str] = set()
    for result in results:
        name, points = result["contender"], result.get("curve") or []
        if points:
            axis.plot(
                [point[axis_name] for point in points],
                [point["dice"] for point in points],
                color=colours[name],
                marker="o",
                markersize=3.5,
                linewidth=1.4,
                label=None if name in labelled else name,
            )
            labelled.add(name)
    axis.set_xlabel("seconds of training" if axis_name == "seconds" else "steps", color=GREY)
    axis.set_ylabel("validation Dice, mean over regions", color=GREY)
    axis.grid(color=FAINT, linewidth=0.6)
    axis.tick_params(colors=GREY, length=0)
    for side in axis.spines.values():
        side.set_visible(False)
    axis.legend(frameon=False, labelcolor=INK, fontsize=9)
    return figure


def _of(budget: str, results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [result for result in results if result["budget"] == budget]
