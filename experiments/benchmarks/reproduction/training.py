"""Figures 2 and 5: runs whose losses and predictions are shown, the demo's or the paper's cascade."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from configs.ds_dense_unet_569 import get_config
from dsdenseunet.core import files
from dsdenseunet.data.manifest import MANIFEST
from dsdenseunet.data.scans.layouts import find_cases
from dsdenseunet.inference.scans import prediction_name
from dsdenseunet.reporting import results
from dsdenseunet.runtime.stages import Chain
from dsdenseunet.tasks.task import Task
from experiments.benchmarks.reproduction import epochs, paper

# To the paper's letter, and with the practical schedule that docs/explanation/network.md explains.
SCHEDULES = ("ds_literal", "ds")
# Validation cases that are segmented for figure 5, the first of the fold by name.
SHOWN = 3


def of_demo(chain: Chain, demo: Path) -> dict[str, Any]:
    """The demo's run, which is made first where it is not there.

    Raises:
        StageFailedError: the demo failed or was stopped.
        InputError: its result is damaged.
    """
    record = demo / "result.json"
    chain.run("demo", ["demo", f"--out={demo}"], [], [record])
    with results.complete(record, f"remove {record}, and run the same command again"):
        result = files.read_json(record)
        found = {name: demo / path for name, path in result["files"].items()}
        data = {name: result["data"][name] for name in ("name", "description", "attribution")}
    case = {name: str(found[name]) for name in ("image", "truth", "prediction")}
    workdir = found["workdir"]
    run = _run(workdir, _last_start(workdir), [{"name": found["image"].name.partition(".")[0], **case}])
    run["network"] = "the demo's small network"
    return {"data": data, "made": [run.pop("made")], "runs": [run], "paper": _PAPER}


def of_data(chain: Chain, out: Path, cache: Path, data: Path) -> dict[str, Any]:
    """Both schedules on the first of five folds, 11,000 steps each, and some of its validation cases.

    Raises:
        StageFailedError: a command failed or was stopped.
    """
    runs = []
    for variant in SCHEDULES:
        workdir, predictions = out / "runs" / variant, out / "runs" / f"{variant}-predictions"
        command = ["train", f"--config={epochs.CONFIG}:{variant}", f"--workdir={workdir}"]
        command.append(f"--config.data.cache={cache}")
        best, origin = workdir / "phase2" / "best", workdir / "provenance.json"
        chain.run(
            f"train {variant}", command, [cache / MANIFEST, Path(epochs.CONFIG), Path(epochs.BASE)], [best]
        )
        start = _last_start(workdir)
        with results.complete(origin, _fix(workdir)):
            names = start["cases"]["validation"][:SHOWN]
            task = Task.of(start["config"]["task"], str(origin))
        found = {case.name: case for case in find_cases(data, len(task.channels)).used}
        cases = []
        for name in names:
            image, prediction = found[name].images[0], predictions / f"{prediction_name(name)}.nii.gz"
            command = ["predict", f"--workdir={workdir}", f"--input={image}", f"--output={predictions}"]
            chain.run(f"predict {variant} {name}", command, [best], [prediction])
            one = {"name": name, "image": str(image), "truth": str(found[name].labels)}
            cases.append({**one, "prediction": str(prediction)})
        runs.append({**_run(workdir, start, cases), "network": get_config(variant).name})
    return {"made": epochs.different([run.pop("made") for run in runs]), "runs": runs, "paper": _PAPER}


_PAPER = {
    "network": paper.TABLE_1[-1]["method"],
    "steps": {n: e * paper.STEPS_PER_EPOCH for n, e in paper.EPOCHS.items()},
}


def _fix(workdir: Path) -> str:
    return f"remove {workdir}, and run the same command again"


def _last_start(workdir: Path) -> dict[str, Any]:
    """What a run says of its last start."""
    origin = workdir / "provenance.json"
    with results.complete(origin, _fix(workdir)):
        start: dict[str, Any] = files.read_json(origin)["starts"][-1]
        return start


def _run(workdir: Path, start: dict[str, Any], cases: list[dict[str, str]]) -> dict[str, Any]:
    """Losses by phase and step, the task, and the cases of a run."""
    losses: dict[str, list[float]] = {}
    with results.complete(workdir / "metrics.jsonl", _fix(workdir)):
        for line in results.read_metrics(workdir / "metrics.jsonl"):
            if "loss" in line:
                losses.setdefault(line["phase"], []).append(results.finite(line["loss"]))
    with results.complete(workdir / "provenance.json", _fix(workdir)):
        config, made = start["config"], epochs.made_with(start)
    return {
        "config": config["name"],
        "task": config["task"],
        "losses": losses,
        "cases": cases,
        "made": made,
    }
