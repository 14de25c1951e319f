"""Contenders one after the other, on one core and for the same wall time, and the Dice of their labels."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti
from dsdenseunet.evaluation import overlap
from dsdenseunet.evaluation.cohort import Ratio
from dsdenseunet.evaluation.statistics import case_weights, interval
from dsdenseunet.tasks import decathlon
from experiments.benchmarks.peers.contenders import Contender, Heat
from experiments.benchmarks.publishing import race_tables

# One core and one thread, whatever the library. Nothing compiled before is of use.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Plan(NamedTuple):
    """What is raced over.

    Attributes:
        data: folder of the Decathlon task.
        fold: names of cases, `train` and `val`.
        number: of the fold.
        minutes: wall time of each contender, one heat each.
        seeds: one heat each, too.
        core: that all of them run on.
        folder: for everything that is written; heats that are done there are not run again.
    """

    data: Path
    fold: Mapping[str, tuple[str, ...]]
    number: int
    minutes: Sequence[float]
    seeds: Sequence[int]
    core: int
    folder: Path


def run(plan: Plan, contenders: Sequence[Contender], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Runs every heat that is not done; returns the results of all.

    Raises:
        InputError: a contender that failed, with the end of what it printed; or a core that is not there.
    """
    if plan.core not in os.sched_getaffinity(0):
        raise InputError(
            "--core",
            found=str(plan.core),
            expected=f"one of {sorted(os.sched_getaffinity(0))}",
            fix="name a core that this process may use",
        )
    results = []
    for minutes in plan.minutes:
        for seed in plan.seeds:
            for contender in contenders:
                name = f"{contender.name} {minutes:g} min, fold {plan.number}, seed {seed}".replace(":", "-")
                done = plan.folder / f"{name}.json"
                if not done.is_file():
                    files.write_json(done, _heat(plan, contender, minutes, seed, plan.folder / name))
                result = files.read_json(done)
                say(f"{name}: {result['seconds']:.0f} s, mean Dice {race_tables.mean(result):.4f}")
                results.append(result)
    return results


def compared(results: Sequence[Mapping[str, Any]], first: str) -> list[dict[str, Any]]:
    """The first contender less each other one, over the same cases, time and seeds.

    Returns:
        For each other contender and time: the mean `difference` in Dice and its bootstrap interval over
        cases (`low`, `high`; 95 %); seeds are averaged by case before.
    """
    by_case: dict[tuple[str, float], list[np.ndarray]] = {}
    for result in results:
        values = np.array([np.mean(list(result["dice"][name].values())) for name in sorted(result["dice"])])
        by_case.setdefault((result["contender"], result["minutes"]), []).append(values)
    rows = []
    for (name, minutes), found in by_case.items():
        if name == first or (first, minutes) not in by_case:
            continue
        difference = np.mean(by_case[first, minutes], axis=0) - np.mean(found, axis=0)
        ends = interval(Ratio(difference, np.ones_like(difference)), case_weights(len(difference)))
        low, high = ends or (None, None)
        rows.append(
            {
                "first": first,
                "second": name,
                "minutes": minutes,
                "difference": float(difference.mean()),
                "low": low,
                "high": high,
                "cases": len(difference),
            }
        )
    return rows


def _heat(plan: Plan, contender: Contender, minutes: float, seed: int, folder: Path) -> dict[str, Any]:
    if folder.exists():
        # Of a race that was ended: its time can't be had again.
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    began = time.monotonic()
    heat = Heat(
        data=plan.data.resolve(),
        train=plan.fold["train"],
        test=plan.fold["val"],
        seconds=60 * minutes,
        seed=seed,
        folder=folder.resolve(),
        left=lambda: 60 * minutes - (time.monotonic() - began),
    )
    environment = {
        **os.environ,
        **_ONE_THREAD,
        **contender.environment,
        "JAX_COMPILATION_CACHE_DIR": str(heat.folder / "xla"),
    }
    stages, said = {}, ""
    for stage, words in contender.commands(heat):
        before = time.monotonic()
        log = folder / f"{stage}.log"
        with log.open("w", encoding="utf-8") as output:
            status = subprocess.run(
                ["taskset", "--cpu-list", str(plan.core), *words],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                check=False,
            ).returncode
        stages[stage] = round(time.monotonic() - before, 2)
        said = log.read_text(encoding="utf-8", errors="replace")
        if status:
            raise InputError(
                log,
                found=f"{contender.name} ended with status {status}: {said[-300:]}",
                expected="a contender that runs to its end",
                fix="read the whole of it there",
            )
    return {
        "contender": contender.name,
        "minutes": minutes,
        "fold": plan.number,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 2),
        "stages": stages,
        "said": said.strip().splitlines()[-1] if said.strip() else "",
        "dice": dice_of(heat),
    }


def dice_of(heat: Heat) -> dict[str, dict[str, float]]:
    """Dice of every region of every test case, from the label volumes that a contender wrote."""
    task = decathlon.task_of(heat.data)
    scores = {}
    for case in heat.test:
        truth = nifti.read_labels(heat.data / "labelsTr" / f"{case}.nii.gz", task).array_DHW
        labels = nifti.read_labels(_prediction(heat.output, case), task).array_DHW
        scores[case] = {
            region.name: overlap.dice(overlap.count(region.mask(labels), region.mask(truth)))
            for region in task.regions
        }
    return scores


def _prediction(folder: Path, case: str) -> Path:
    found = [path for path in sorted(folder.glob(f"*{case}.nii.gz")) if path.is_file()]
    if len(found) != 1:
        raise InputError(
            folder,
            found=f"{len(found)} label volumes of {case}",
            expected="one",
            fix="see the logs beside it",
        )
    return found[0]
