"""A comparison as one self-contained page: tables, who is ahead by how much, and Dice along the way."""

from __future__ import annotations

import functools
import itertools
import os
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dsdenseunet.reporting import comparison_tables as tables
from dsdenseunet.reporting import html, pictures
from dsdenseunet.reporting.style import GREY, INK, plain
from dsdenseunet.tasks.colours import COLOURS

# Letters of a line of a contender's name.
_NAME = 34


def write_comparison_page(path: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
    """Writes the page of a record of `experiments.compare`.

    Args:
        path: of the page; its pictures are inside.
        record: as the command's JSON has it.
    """
    budgets = dict.fromkeys(result["budget"] for result in record["results"])
    with tempfile.TemporaryDirectory() as folder:
        leads = [
            pictures.draw(
                Path(folder) / "leads.png",
                f"Mean Dice beside the first, {budget}",
                functools.partial(leads_figure, compared),
            )
            for budget in budgets
            if len(compared := _of(budget, record["compared"])) > 1
        ]
        drawn = [
            pictures.draw(
                Path(folder) / "curves.png",
                f"Validation Dice, {budget}",
                functools.partial(curves_figure, _of(budget, record["results"]), budget),
            )
            for budget in budgets
            if any(len(result.get("curve") or []) > 1 for result in _of(budget, record["results"]))
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
        leads=leads,
        curves=drawn,
        about=tables.about(record),
    )


def leads_figure(compared: Sequence[Mapping[str, Any]]) -> Figure:
    """Each contender's mean Dice less the first one's, with its interval; best on top.

    Args:
        compared: the pairs with one budget, as the record has them; the first contender is the same in all.
    """
    # The record has the first one's lead.
    rows = sorted(compared, key=lambda pair: pair["difference"], reverse=True)
    # With the fields that are set behind a config, a name can be longer than the figure is wide.
    first, *names = (
        textwrap.fill(name, _NAME) for name in (compared[0]["first"], *(pair["second"] for pair in rows))
    )
    lines = sum(name.count("\n") + 1 for name in names)
    behind = [-pair["difference"] for pair in rows]
    figure = Figure(figsize=(7.2, 1.1 + 0.28 * lines), layout="constrained")
    axis = figure.subplots()
    axis.axvline(0, color=GREY, linewidth=1)
    for place, (pair, value) in enumerate(zip(rows, behind)):
        clear = pair["better"] != "undecided"
        if pair["low"] is not None:
            axis.plot([-pair["high"], -pair["low"]], [place, place], color=INK, linewidth=1.4)
        axis.plot(value, place, "o", color=INK, markerfacecolor=INK if clear else "white", markersize=5.5)
    axis.set_yticks(range(len(rows)), names, color=INK, fontsize=9)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_xlabel(f"mean Dice less that of {first}", color=GREY)
    plain(axis, "x")
    axis.tick_params(labelcolor=INK)
    return figure


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
                label=None if name in labelled else textwrap.fill(name, 2 * _NAME),
            )
            labelled.add(name)
    axis.set_xlabel("seconds of training" if axis_name == "seconds" else "steps", color=GREY)
    axis.set_ylabel("validation Dice, mean over regions", color=GREY)
    plain(axis)
    figure.legend(frameon=False, labelcolor=INK, fontsize=9, loc="outside lower left")
    return figure


def _of(budget: str, results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [result for result in results if result["budget"] == budget]
