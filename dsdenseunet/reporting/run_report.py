"""The demo's report, of one run on one held-out volume of LiTS or a phantom: pictures, a page, and JSON."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dsdenseunet.core import files
from dsdenseunet.data.scans import nifti
from dsdenseunet.reporting import curves, first_batch, html, overlays, pictures, results
from dsdenseunet.reporting import html_tables as tables
from dsdenseunet.reporting.results import finite
from dsdenseunet.reporting.slices import choose_slices
from dsdenseunet.reporting.sources import DataSource
from dsdenseunet.reporting.viewer import write_viewer
from dsdenseunet.runtime.stages import Stage
from dsdenseunet.tasks.task import Task

MODE = "corrected"
SLICES = 4
# The page on which to scroll through the held-out volume.
VIEWER = "view.html"


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Where everything is that a report is made from; `prediction` lies on the grid of `image`."""

    workdir: Path
    image: Path
    truth: Path
    prediction: Path
    scores: Path


def write_report(out: Path, inputs: Inputs, data: DataSource, stages: Sequence[Stage]) -> Path:
    """Writes overlay, loss, validation and scores as PNG, view.html, result.json and report.html into `out`.

    Returns:
        The page's path.

    A picture that cannot be drawn is replaced by a sentence that says why.

    Raises:
        InputError: scores or a log of `inputs` are missing or damaged.
    """
    log, provenance = inputs.workdir / "metrics.jsonl", inputs.workdir / "provenance.json"
    anew = f"remove {inputs.workdir} and run the same command again"
    with results.complete(inputs.scores, f"remove {inputs.scores} and run the same command again"):
        scores = files.read_json(inputs.scores)
        rows = tables.score_rows(scores, MODE)
        scored = _scored(scores)
    with results.complete(log, anew):
        metrics = results.read_metrics(log)
        trained = _trained(metrics)
    with results.complete(provenance, anew):
        start = files.read_json(provenance)["starts"][-1]
        result = {**_started(start), **scored, **trained}
        result |= {
            "data": dataclasses.asdict(data),
            # From where this file is.
            "files": {name: os.path.relpath(path, out) for name, path in dataclasses.asdict(inputs).items()},
            "stages": [dataclasses.asdict(stage) for stage in stages],
        }
        task = Task.of(start["config"]["task"], str(provenance))
        values = _page_values(out, result, rows)
    note = f"{data.name}; scoring mode: {MODE}"
    figures: dict[str, tuple[str, Callable[[], Figure]]] = {
        "overlay": ("The truth and the prediction", lambda: _overlay(inputs, data, task, out / VIEWER)),
        "loss": ("Training loss", lambda: curves.loss_figure(metrics)),
        "validation": ("Validation Dice", lambda: curves.dice_figure(metrics)),
        "scores": ("Scores", lambda: tables.table_figure(tables.SCORE_HEADINGS, rows, note)),
    }
    drawn = {
        name: pictures.draw(out / f"{name}.png", title, figure, VIEWER if name == "overlay" else "")
        for name, (title, figure) in figures.items()
    }
    title = "The first batch of the last phase"
    drawn["first_batch"] = pictures.drawn_before(inputs.workdir / first_batch.FILE, title)
    files.write_json(out / "result.json", result)
    page = out / "report.html"
    html.write_page(page, "run.html", **drawn, **values)
    return page


def _overlay(inputs: Inputs, data: DataSource, task: Task, page: Path) -> Figure:
    image = nifti.read_image(inputs.image, channels=task.channels)
    truth = nifti.read_labels(inputs.truth, task, like=image.grid).array_DHW
    prediction = nifti.read_labels(inputs.prediction, task, like=image.grid).array_DHW
    title = f"Held-out volume of {data.name}"
    write_viewer(page, title, image, task, truth, prediction)
    slices = choose_slices(truth, SLICES, task.regions)
    return overlays.overlay_figure(
        image.array_DHW, truth, prediction, image.spacing_mm, slices, task, title=title
    )


def _scored(scores: Mapping[str, Any]) -> dict[str, Any]:
    values = scores["modes"][MODE]["scores"]
    return {
        "scoring_mode": MODE,
        "liver_dice": finite(values["liver_dice_per_case"]),
        "tumour_dice": finite(values["lesion_dice_per_case"]),
        "scores": scores["modes"],
    }


def _trained(metrics: curves.Metrics) -> dict[str, Any]:
    """Steps of each phase, and the weights that the last one chose."""
    phases = curves.phases_of(metrics)
    validations = [line for line in metrics if line["phase"] == phases[-1] and "validation" in line]
    chosen = max(validations, key=lambda line: finite(curves.selection(line["validation"])))
    return {
        "weights": {"phase": phases[-1], "epoch": chosen["epoch"], "validation": chosen["validation"]},
        "steps": {
            phase: max(int(line["step"]) for line in metrics if line["phase"] == phase) for phase in phases
        },
    }


def _started(start: Mapping[str, Any]) -> dict[str, Any]:
    """What was trained, by which code, where and on which data."""
    names = ("commit", "uncommitted_changes_sha256", "hardware", "versions", "data_sha256", "config")
    return {"config_name": start["config"]["name"], **{name: start[name] for name in names}}


def _page_values(out: Path, result: Mapping[str, Any], rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    data, config, weights = result["data"], result["config"], result["weights"]
    seconds = sum(stage["seconds"] for stage in result["stages"])
    hardware, versions = result["hardware"], result["versions"]
    uncommitted = " with uncommitted changes" if result["uncommitted_changes_sha256"] else ""
    commit = f"{result['commit'][:12]}{uncommitted}" if result["commit"] else "not run from a clone"
    steps = " + ".join(map(str, result["steps"].values()))
    devices = f"{hardware['devices']} x {hardware['device_kind']}"
    return {
        "title": "Liver and tumours in a CT: the demo's report",
        "lead": (
            "A small 3D-DenseUNet was trained in the paper's two phases on one part of a CT, its weights "
            "were chosen on a second part, and it was scored on a third part that it has never seen."
        ),
        "warning": data["warning"],
        "headline": [
            ("first-region", f"{result['liver_dice']:.3f}", "liver Dice, held out"),
            ("second-region", f"{result['tumour_dice']:.3f}", "tumour Dice, held out"),
            ("", steps, f"optimiser steps, {' + '.join(result['steps'])}"),
            ("", f"{seconds / 60:.1f} min", "for all stages"),
        ],
        "overlay_note": (
            "Liver green, tumour red; the truth are the labels that come with the data. Slices with much "
            "tumour, apart from each other. Dice in a corner is that slice's. The patient's right side is on "
            "the left."
        ),
        "headings": tables.SCORE_HEADINGS,
        "rows": rows,
        "score_note": (
            f"Scoring mode: {MODE}. A tumour is part of the liver. One volume: these numbers say that the "
            "whole chain works, not how well the network does on other patients; they are not to be set "
            "beside published scores."
        ),
        "first_batch_note": (
            "A patch, after augmentation and normalisation, and its labels. Mirrored patches appear mirrored."
        ),
        "loss_note": "Weighted cross-entropy of each step's patches (thin) and its running mean (thick).",
        "dice_note": (
            f"On the validation volume. Rings: the weights that each phase kept; the last ones "
            f"({weights['phase']}, epoch {weights['epoch']}) made the prediction."
        ),
        "stages": result["stages"],
        "facts": [
            ("Data", data["description"]),
            ("Attribution", data["attribution"]),
            ("Configuration", f"{config['name']}, seed {config['seed']}"),
            ("Code", commit),
            (
                "Hardware",
                f"{hardware['cpu_cores']} CPU cores ({hardware['machine']}), computing on {devices}",
            ),
            ("Libraries", ", ".join(f"{name} {version}" for name, version in versions.items())),
            ("Data hash", result["data_sha256"]),
        ],
        "config": json.dumps(config, indent=2),
        "footer": f"Every number on this page is in {out.name}/result.json, with the whole configuration.",
    }
