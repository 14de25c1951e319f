"""The report of one run on one held-out volume: pictures, one page, and the same as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsdenseunet import files
from dsdenseunet.data import nifti
from dsdenseunet.reporting import curves, html, overlays, style, tables
from dsdenseunet.reporting.sources import DataSource
from dsdenseunet.stages import Stage

MODE = "corrected"
SLICES = 4


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Where everything is that a report is made from; `prediction` lies on the grid of `image`."""

    workdir: Path
    image: Path
    truth: Path
    prediction: Path
    scores: Path


def write_report(out: Path, inputs: Inputs, data: DataSource, stages: Sequence[Stage]) -> Path:
    """Writes overlay.png, loss.png, validation.png, scores.png, result.json and report.html into `out`.

    Returns:
        The page's path.

    Raises:
        InputError: a file of `inputs` is missing or damaged.
    """
    scores = files.read_json(inputs.scores)
    metrics = curves.read_metrics(inputs.workdir / "metrics.jsonl")
    start = files.read_json(inputs.workdir / "provenance.json")["starts"][-1]
    config = start["config"]
    rows = tables.score_rows(scores, MODE)
    note = f"{data.name}; scoring mode: {MODE}"
    pictures = {
        "overlay": _overlay(inputs, data, tuple(config["data"]["hu_window"])),
        "loss": curves.loss_figure(metrics),
        "validation": curves.dice_figure(metrics),
        "scores": tables.table_figure(tables.SCORE_HEADINGS, rows, note),
    }
    for name, figure in pictures.items():
        style.save(figure, out / f"{name}.png")
    result = _result(scores, metrics, start, data, stages)
    files.write_json(out / "result.json", result)
    page = out / "report.html"
    html.write_page(page, "run.html", **_page_values(out, result, metrics, rows))
    return page


def _overlay(inputs: Inputs, data: DataSource, hu_window: tuple[float, float]) -> Any:
    image = nifti.read_image(inputs.image)
    truth = nifti.read_labels(inputs.truth, like=image.grid).array_DHW
    prediction = nifti.read_labels(inputs.prediction, like=image.grid).array_DHW
    return overlays.overlay_figure(
        image.array_DHW,
        truth,
        prediction,
        image.spacing_mm,
        overlays.choose_slices(truth, SLICES),
        hu_window,
        title=f"Held-out volume of {data.name}",
    )


def _result(
    scores: Mapping[str, Any],
    metrics: curves.Metrics,
    start: Mapping[str, Any],
    data: DataSource,
    stages: Sequence[Stage],
) -> dict[str, Any]:
    """Everything that a published number must carry, beside the numbers."""
    last = max(line["phase"] for line in metrics)
    validations = [line for line in metrics if line["phase"] == last and "validation" in line]
    chosen = max(validations, key=lambda line: line["validation"]["mean_dice"])
    values = scores["modes"][MODE]["scores"]
    return {
        "config_name": start["config"]["name"],
        "commit": start["commit"],
        "uncommitted_changes_sha256": start["uncommitted_changes_sha256"],
        "hardware": start["hardware"],
        "versions": start["versions"],
        "data": dataclasses.asdict(data),
        "data_sha256": start["data_sha256"],
        "scoring_mode": MODE,
        "liver_dice": values["liver_dice_per_case"],
        "tumour_dice": values["lesion_dice_per_case"],
        "weights": {"phase": last, "epoch": chosen["epoch"], "validation": chosen["validation"]},
        "steps": {str(phase): steps for phase, steps in _steps(metrics).items()},
        "stages": [dataclasses.asdict(stage) for stage in stages],
        "scores": scores["modes"],
        "config": start["config"],
    }


def _steps(metrics: curves.Metrics) -> dict[int, int]:
    phases = sorted({line["phase"] for line in metrics})
    return {phase: max(line["step"] for line in metrics if line["phase"] == phase) for phase in phases}


def _page_values(
    out: Path, result: Mapping[str, Any], metrics: curves.Metrics, rows: Sequence[Sequence[str]]
) -> dict[str, Any]:
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
            ("liver", f"{result['liver_dice']:.3f}", "liver Dice, held out"),
            ("tumour", f"{result['tumour_dice']:.3f}", "tumour Dice, held out"),
            ("", steps, "optimiser steps, phase 1 + phase 2"),
            ("", f"{seconds / 60:.1f} min", "for all stages"),
        ],
        "overlay": html.inline_png(out / "overlay.png"),
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
        "loss": html.inline_png(out / "loss.png"),
        "loss_note": "Weighted cross-entropy of each step's patches (thin) and its running mean (thick).",
        "dice": html.inline_png(out / "validation.png"),
        "dice_note": (
            f"On the validation volume. Rings: the weights that each phase kept; the last ones (phase "
            f"{weights['phase']}, epoch {weights['epoch']}) made the prediction."
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
