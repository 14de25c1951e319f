"""Table 1 and figures 3 and 4: Dice of the compared methods on LiTS, the paper's and ours."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from dsdenseunet.reporting.reproduction.section import Drawing, Record, Section, Table, facts
from dsdenseunet.reporting.style import FAINT, GREY, INK

Row = Mapping[str, Any]
NOT_RUN = "not run here"
# Safe for colour-blind readers (Okabe and Ito), and told apart by brightness and hatching without colour.
_BARS = {
    "case": ("the paper's Dice, mean over cases", "#0072b2", ""),
    "global": ("the paper's Dice, all voxels pooled", "#a6cee3", ""),
    "ours": ("ours, mean over cases", "#e69f00", "///"),
}


def table(record: Record) -> Section:
    """Table 1."""
    rows = record["rows"]
    headings = [
        *("method", "", "million parameters, paper", "counted here"),
        *("liver Dice, paper", "global", "ours"),
        *("tumour Dice, paper", "global", "ours"),
    ]
    cells = []
    for row in rows:
        counted = row["trainable"]
        cells.append([row["method"], row["dimension"], _number(row["parameters_millions"])])
        cells[-1].append("" if counted is None else f"{counted / 1e6:.1f}")
        for region in ("liver", "tumour"):
            cells[-1] += [_number(row[region]["case"]), _number(row[region]["global"]), _ours(row, region)]
    return Section(
        f"Table 1: Dice in percent on LiTS, {_whose(record)}",
        [Table(f"Dice in percent, {_whose(record)}", headings, cells)],
        [*_parameters(rows), *_run(record)],
        facts=facts(record),
    )


def figure(number: int, region: str, record: Record) -> Section:
    """Figure 3 or 4: a bar chart of a region's columns of Table 1."""
    title = f"Figure {number}: Dice of the {region} on LiTS, {_whose(record)}"
    drawing = Drawing(f"figure{number}", title, functools.partial(bars, record["rows"], region, title))
    return Section(title, [], _run(record), [drawing], facts(record))


def bars(rows: Sequence[Row], region: str, title: str) -> Figure:
    """Bars from 0 to 100 percent, each with its value; ours, where there are any, with their intervals."""
    drawn = Figure(figsize=(max(9.0, 1.9 * len(rows)), 4.2), layout="constrained")
    axis = drawn.subplots()
    kinds = [kind for kind in _BARS if kind != "ours" or any(row["ours"] for row in rows)]
    width = 0.84 / len(kinds)
    for place, kind in enumerate(kinds):
        words, colour, hatch = _BARS[kind]
        known = [(x, found) for x, row in enumerate(rows) if (found := _value(row, region, kind))]
        lefts = [x + (place - (len(kinds) - 1) / 2) * width for x, _ in known]
        values = [found[0] for _, found in known]
        error = [[found[0] - found[1] for _, found in known], [found[2] - found[0] for _, found in known]]
        axis.bar(
            lefts,
            values,
            0.92 * width,
            yerr=error if kind == "ours" else None,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.8,
            label=words,
            error_kw={"ecolor": INK, "elinewidth": 1.2},
        )
        for left, value in zip(lefts, values):
            axis.annotate(
                f"{value:.1f}",
                (left, 3),
                ha="center",
                color="white" if kind == "case" else INK,
                fontsize=10,
                bbox={"facecolor": colour, "linewidth": 0, "pad": 1} if hatch else None,
            )
    axis.set_xticks(range(len(rows)), [row["method"].replace(", ", ",\n") for row in rows], fontsize=11)
    axis.set_ylim(0, 100)
    axis.set_ylabel(f"{region} Dice, %", fontsize=11, color=INK)
    axis.set_title(title, fontsize=12, color=INK, loc="left")
    axis.grid(axis="y", color=FAINT, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(colors=INK, length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(GREY)
    drawn.legend(loc="outside lower center", ncols=len(kinds), frameon=False, fontsize=11, labelcolor=INK)
    return drawn


def _value(row: Row, region: str, kind: str) -> tuple[float, float, float] | None:
    """Value and ends of its interval, None where there is none."""
    if kind == "ours":
        if row["ours"] is None:
            return None
        found = row["ours"][region]
        value = found["value"]
        return value, found["low"] or value, found["high"] or value
    value = row[region][kind]
    return None if value is None else (value, value, value)


def _whose(record: Record) -> str:
    cases = {row["ours"]["cases"] for row in record["rows"] if row["ours"]}
    if not cases:
        return f"the paper's values; ours {NOT_RUN}"
    return (
        f"the paper's values, and ours of {max(cases)} cases of {record['data']['name']} in cross-validation"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _ours(row: Row, region: str) -> str:
    found = row["ours"] and row["ours"][region]
    if not found:
        return NOT_RUN
    ends = "" if found["low"] is None else f" ({found['low']:.1f} to {found['high']:.1f})"
    return f"{found['value']:.1f}{ends}"


def _parameters(rows: Sequence[Row]) -> list[str]:
    """Where the printed millions are not those of the networks."""
    apart = [
        f"{row['method']} {row['parameters_millions']:g} printed, {row['trainable'] / 1e6:.1f} counted"
        for row in rows
        if row["trainable"] and row["parameters_millions"]
    ]
    return [
        f"Trainable parameters in millions: {'; '.join(apart)}. Ours are of the networks as their authors' "
        "released code has them (docs/reference/networks.md); of 3D-DenseUNet-569 the paper's own Table 3 "
        "has the counted number."
    ]


def _run(record: Record) -> list[str]:
    notes = []
    if any(row["ours"] is None for row in record["rows"]):
        notes.append(f"Ours need LiTS and a GPU for days; this command runs them: {record['run']}")
    if any(row["ours"] for row in record["rows"]):
        notes.append(
            "Ours are means over cases that the networks were not trained on, in brackets 95 % bootstrap "
            "intervals over cases; the paper's are of the challenge's test cases. Dice over all voxels "
            "pooled (global) is what experiments.evaluate says of the predictions."
        )
    return notes
