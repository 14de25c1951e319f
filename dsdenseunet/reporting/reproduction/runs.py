"""Figure 2, the training loss of both phases, and figure 5, predictions beside the truth."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from matplotlib.figure import Figure

from dsdenseunet.data.scans import nifti
from dsdenseunet.reporting import curves, overlays
from dsdenseunet.reporting.reproduction.section import Drawing, Record, Section, Table, facts
from dsdenseunet.reporting.slices import choose_slices
from dsdenseunet.reporting.style import INK
from dsdenseunet.tasks.task import Task

# Of one case alone, and of each where there are several.
_SLICES_OF_ONE, _SLICES = 4, 2


def loss(record: Record) -> Section:
    """Figure 2, and what its phases come to."""
    title = f"Figure 2: training loss of both phases, {_where(record)}"
    drawings = []
    for run in record["runs"]:
        shown = _titled(title, run, record)
        drawings.append(Drawing(_name("figure2", run, record), shown, functools.partial(_loss, run, shown)))
    rows = [row for run in record["runs"] for row in _phases(run, record)]
    headings = ["run", "phase", "steps", "steps, paper", "mean of the first tenth", "mean of the last tenth"]
    table = Table(f"Weighted cross-entropy, {_where(record)}", headings, rows)
    return Section(title, [table], _loss_notes(record), drawings, facts(record))


def overlay(record: Record) -> Section:
    """Figure 5: slices as they are, windowed, with the truth and with the prediction."""
    title = f"Figure 5: examples of segmentation, {_where(record)}"
    drawings = []
    for run in record["runs"]:
        for case in run["cases"]:
            count = _SLICES_OF_ONE if len(run["cases"]) == 1 else _SLICES
            name = _name("figure5", run, record)
            name += f"-{case['name']}" if len(run["cases"]) > 1 else ""
            shown = f"{_titled(title, run, record)}: {case['name']}"
            draw = functools.partial(_overlay, run, case, shown, count)
            drawings.append(Drawing(name, shown, draw))
    return Section(
        title,
        [],
        [
            "Liver green with a solid outline, tumour red with a dashed one; the slices are those with most "
            "tumour that are apart from each other. Dice in a corner is that slice's.",
            "The paper shows slices that it chose from LiTS, without their numbers, so that the same slices "
            "cannot be shown here.",
        ],
        drawings,
        facts(record),
    )


def _where(record: Record) -> str:
    """Networks and data; what is not the paper's is said."""
    networks = " and ".join(dict.fromkeys(run["network"] for run in record["runs"]))
    data = record["data"]["name"]
    if all(_steps(run) == record["paper"]["steps"] for run in record["runs"]):
        return f"{networks} on {data}"
    return f"{networks} on {data} (paper: {record['paper']['network']} on LiTS)"


def _steps(run: Mapping[str, Any]) -> dict[str, int]:
    return {phase: len(losses) for phase, losses in run["losses"].items()}


def _name(figure: str, run: Mapping[str, Any], record: Record) -> str:
    return figure if len(record["runs"]) == 1 else f"{figure}-{run['config'].rpartition(':')[2]}"


def _titled(title: str, run: Mapping[str, Any], record: Record) -> str:
    return title if len(record["runs"]) == 1 else f"{title}; {run['config']}"


def _loss(run: Mapping[str, Any], title: str) -> Figure:
    lines = [
        {"phase": phase, "step": step, "loss": value}
        for phase, losses in run["losses"].items()
        for step, value in enumerate(losses, start=1)
    ]
    figure = curves.loss_figure(lines)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, color=INK, wrap=True)
    return figure


def _tenths(losses: Sequence[float]) -> tuple[float, float]:
    """Mean loss of the first and of the last tenth of the steps, one step at least."""
    count = max(len(losses) // 10, 1)
    return mean(losses[:count]), mean(losses[-count:])


def _phases(run: Mapping[str, Any], record: Record) -> list[list[str]]:
    rows = []
    for phase, losses in run["losses"].items():
        planned = record["paper"]["steps"].get(phase)
        first, last = _tenths(losses)
        shown = f"{planned:,}" if planned else ""
        rows.append([run["config"], phase, f"{len(losses):,}", shown, f"{first:.4f}", f"{last:.4f}"])
    return rows


def _loss_notes(record: Record) -> list[str]:
    notes = [
        "The paper's figure is a picture without numbers. It says of it that the second phase converges "
        "faster and reaches lower losses (section 4.4)."
    ]
    for run in record["runs"]:
        if len(run["losses"]) < 2:
            continue
        (first_name, first), *_, (last_name, last) = run["losses"].items()
        (began, ended), (again, end) = _tenths(first), _tenths(last)
        notes.append(
            f"In ours ({run['config']}) {last_name} begins at {again:.4f}, where {first_name} began at "
            f"{began:.4f}, and ends {'lower' if end < ended else 'no lower'}: at {end:.4f} against "
            f"{ended:.4f}."
        )
    return notes


def _overlay(run: Mapping[str, Any], case: Mapping[str, str], title: str, count: int) -> Figure:
    task = Task.of(run["task"])
    image = nifti.read_image(case["image"], channels=task.channels)
    truth = nifti.read_labels(case["truth"], task, like=image.grid).array_DHW
    prediction = nifti.read_labels(case["prediction"], task, like=image.grid).array_DHW
    slices = choose_slices(truth, count, task.regions)
    return overlays.overlay_figure(
        image.array_DHW, truth, prediction, image.spacing_mm, slices, task, title=title
    )
