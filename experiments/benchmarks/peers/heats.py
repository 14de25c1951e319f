"""Contenders one after the other, each with the same budget, and the Dice of their labels."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.layouts import Case
from dsdenseunet.evaluation import overlap, regions
from dsdenseunet.inference.scans import prediction_name
from dsdenseunet.runtime import environment
from dsdenseunet.tasks.task import Task
from experiments.benchmarks.peers import standings
from experiments.benchmarks.peers.budget import SECONDS, Budget
from experiments.benchmarks.peers.cases import Fold
from experiments.benchmarks.peers.contenders import Contender, Heat

# On one core: one thread, whatever the library.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_STAGES = "stages.json"


class Plan(NamedTuple):
    """The heats of a comparison.

    Attributes:
        data: folder of the data set.
        cases: its labelled scans, by name.
        task: what is scored.
        folds: by number; one heat each.
        budgets: of each contender, one heat each.
        seeds: one heat each, too.
        core: that all of them run on; None: all cores that there are.
        folder: for everything that is written; heats that are done there are not run again.
    """

    data: Path
    cases: Mapping[str, Case]
    task: Task
    folds: Mapping[int, Fold]
    budgets: Sequence[Budget]
    seeds: Sequence[int]
    core: int | None
    folder: Path


def run(plan: Plan, contenders: Sequence[Contender], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Runs every heat that is not done; returns the results of all.

    A heat that was stopped goes on where the contender's own commands can; otherwise it begins anew.

    Raises:
        InputError: a contender that failed, with the end of what it printed; or a core that is not there.
    """
    # Only Linux keeps a process on a core.
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if plan.core is not None and plan.core not in cores:
        raise InputError(
            "--core",
            found=str(plan.core),
            expected=f"one of {cores}" if cores else "no core, as this system keeps no process on one",
            fix="name a core that this process may use" if cores else "leave it out",
        )
    results = []
    heats = itertools.product(plan.budgets, plan.folds, plan.seeds, contenders)
    for budget, fold, seed, contender in heats:
        name = f"{contender.name} {budget.in_words}, fold {fold}, seed {seed}"
        name = name.replace(":", "-").replace("/", "-")
        done = plan.folder / f"{name}.json"
        if not done.is_file():
            files.write_json(done, _heat(plan, contender, budget, fold, seed, plan.folder / name))
        result = standings.current(files.read_json(done))
        say(f"{name}: {result['seconds']:.0f} s, mean Dice {standings.mean(result):.4f}")
        results.append(result)
    return results


def _heat(
    plan: Plan, contender: Contender, budget: Budget, fold: int, seed: int, folder: Path
) -> dict[str, Any]:
    record = folder / _STAGES
    if folder.exists() and not (contender.resumes and record.is_file()):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not record.is_file():
        started = datetime.now(UTC).isoformat(timespec="seconds")
        begun = {"started": started, "commit": environment.describe(())["commit"], "stages": {}}
        files.write_json(record, begun)
    kept = files.read_json(record)
    stages: dict[str, dict[str, Any]] = kept["stages"]

    def left() -> float:
        # Of whole stages only: a training that goes on must be given the time that it was given first.
        spent = sum(stage["seconds"] for stage in stages.values() if stage["done"])
        return budget.amount - spent if budget.kind == SECONDS else math.inf

    heat = Heat(
        data=plan.data.resolve(),
        cases=plan.cases,
        train=plan.folds[fold].train,
        test=plan.folds[fold].test,
        budget=budget,
        seed=seed,
        folder=folder.resolve(),
        left=left,
    )
    began = time.monotonic()
    for name, words in contender.commands(heat):
        stage = stages.setdefault(name, {"seconds": 0.0, "peak_bytes": 0, "done": False})
        if stage["done"]:
            continue
        try:
            status, peak = _run(words, heat.log(name), contender, plan.core, heat.folder / "xla")
            stage["peak_bytes"], stage["done"] = max(stage["peak_bytes"], peak), status == 0
        finally:
            now = time.monotonic()
            stage["seconds"], began = round(stage["seconds"] + now - began, 2), now
            files.write_json(record, kept)
        if status:
            raise InputError(
                heat.log(name),
                found=f"{contender.name} ended with status {status}: {_end_of(heat.log(name))}",
                expected="a contender that runs to its end",
                fix="read the whole of it there",
            )
    return {
        "contender": contender.name,
        "budget": budget.text,
        "fold": fold,
        "seed": seed,
        "started": kept["started"],
        "commit": kept["commit"],
        "seconds": round(sum(stage["seconds"] for stage in stages.values()), 2),
        "stages": {name: stage["seconds"] for name, stage in stages.items()},
        "host_bytes": max((stage["peak_bytes"] for stage in stages.values()), default=0),
        "said": heat.last_line(name) if stages else "",
        **contender.measured(heat),
        **scores_of(heat, plan.task),
    }


def _run(
    words: Sequence[str], log: Path, contender: Contender, core: int | None, compiled: Path
) -> tuple[int, int]:
    """Runs a process to its end; returns its exit status and the most memory that it had, in bytes.

    Ctrl-C reaches it too: it is given the time to save.
    """
    pinned = ["taskset", "--cpu-list", str(core)] if core is not None else []
    variables = {
        **os.environ,
        **(_ONE_THREAD if pinned else {}),
        **contender.environment,
        # Nothing compiled before is of use.
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
    }
    with log.open("a", encoding="utf-8") as output:
        process = subprocess.Popen([*pinned, *words], stdout=output, stderr=subprocess.STDOUT, env=variables)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except KeyboardInterrupt:
            process.wait()
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * 1024


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-300:]


def scores_of(heat: Heat, task: Task) -> dict[str, dict[str, dict[str, Any]]]:
    """Scores of every region of every test case, from the label volumes that a contender wrote.

    Returns:
        By case and region `dice`; `voxels` of the prediction, of the reference and of both; and of regions
        that the task detects the numbers of `pieces`, see `regions.Pieces.counts`.

    Raises:
        InputError: a volume that is missing, or lies on another grid than its image.
    """
    dice, voxels, pieces = {}, {}, {}
    for name in heat.test:
        case = heat.cases[name]
        # nnU-Net writes the ending that the images have.
        paths = [heat.output / (prediction_name(name) + ending) for ending in (".nii.gz", ".nii")]
        predicted = next((path for path in paths if path.is_file()), None)
        if predicted is None:
            raise InputError(
                paths[0],
                found="no such file",
                expected=f"the label volume of {name}",
                fix="see the logs beside its folder",
            )
        grid = nifti.read_grid(case.image)
        truth = nifti.read_labels(case.labels or "", task, like=grid, with_ignored=True).array_DHW
        labels = nifti.read_labels(predicted, task, like=grid).array_DHW
        counted = truth != task.ignore_label
        masks = {
            region.name: (region.mask(labels) & counted, region.mask(truth) & counted)
            for region in task.regions
        }
        counts = {region: overlap.count(*sides) for region, sides in masks.items()}
        voxels[name] = {region: dataclasses.asdict(count) for region, count in counts.items()}
        dice[name] = {region: overlap.dice(count) for region, count in counts.items()}
        if task.detect:
            spacing_mm = grid.spacing_mm
            pieces[name] = {
                region: regions.pieces(*masks[region], spacing_mm).counts for region in task.detect
            }
    return {"dice": dice, "voxels": voxels, "pieces": pieces}
