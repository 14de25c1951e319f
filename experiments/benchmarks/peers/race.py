"""Contenders one after the other, on one core and for the same wall time, and the Dice of their labels."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti
from dsdenseunet.evaluation import overlap
from dsdenseunet.evaluation.cohort import Ratio
from dsdenseunet.evaluation.statistics import case_weights, interval
from dsdenseunet.runtime import environment
from dsdenseunet.tasks import decathlon
from experiments.benchmarks.peers.contenders import Contender, Heat
from experiments.benchmarks.publishing import race_tables

# One core and one thread, whatever the library. Nothing compiled before is of use.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Plan(NamedTuple):
    """The heats of a race.

    Attributes:
        data: folder of the Decathlon task.
        folds: by number, the names of cases, `train` and `val`; one heat each.
        minutes: wall time of each contender, one heat each.
        seeds: one heat each, too.
        core: that all of them run on.
        folder: for everything that is written; heats that are done there are not run again.
    """

    data: Path
    folds: Mapping[int, Mapping[str, tuple[str, ...]]]
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
    heats = itertools.product(plan.minutes, plan.folds, plan.seeds, contenders)
    for minutes, fold, seed, contender in heats:
        name = f"{contender.name} {minutes:g} min, fold {fold}, seed {seed}".replace(":", "-")
        done = plan.folder / f"{name}.json"
        if not done.is_file():
            files.write_json(done, _heat(plan, contender, minutes, fold, seed, plan.folder / name))
        result = files.read_json(done)
        say(f"{name}: {result['seconds']:.0f} s, mean Dice {race_tables.mean(result):.4f}")
        results.append(result)
    return results


def scored(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every contender at every time, over the cases of all its folds; seeds are averaged by case before.

    Returns:
        For each: `contender`, `minutes`, its `folds` and `seeds`, the `cases` that were scored, the `seconds`
        of its longest heat, and `dice`: the mean over cases of each region and of all (`mean`), each with its
        bootstrap interval over cases (`value`, `low`, `high`; 95 %, None for a single case).
    """
    rows = []
    for (name, minutes), found in _by_contender(results).items():
        cases = _by_case(found)
        scores = {region: {c: dice[region] for c, dice in cases.items()} for region in _regions(found)}
        scores["mean"] = _means(cases)
        rows.append(
            {
                "contender": name,
                "minutes": minutes,
                "folds": sorted({result["fold"] for result in found}),
                "seeds": sorted({result["seed"] for result in found}),
                "cases": len(cases),
                "seconds": max(result["seconds"] for result in found),
                "dice": {kind: _with_interval(list(values.values())) for kind, values in scores.items()},
            }
        )
    return rows


def compared(results: Sequence[Mapping[str, Any]], first: str) -> list[dict[str, Any]]:
    """The first contender less each other one, at the same time, over the cases that both have scored.

    Returns:
        For each other contender and time: `value`, the mean difference of Dice, and its bootstrap interval
        over cases (`low`, `high`; 95 %); seeds are averaged by case before.
    """
    by_contender, rows = _by_contender(results), []
    for (name, minutes), found in by_contender.items():
        if name == first or (first, minutes) not in by_contender:
            continue
        ours, theirs = _means(_by_case(by_contender[first, minutes])), _means(_by_case(found))
        both = sorted(set(ours) & set(theirs))
        rows.append(
            {
                "first": first,
                "second": name,
                "minutes": minutes,
                "cases": len(both),
                **_with_interval([ours[case] - theirs[case] for case in both]),
            }
        )
    return rows


def _by_contender(results: Sequence[Mapping[str, Any]]) -> dict[tuple[str, float], list[Mapping[str, Any]]]:
    grouped: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
    for result in results:
        grouped.setdefault((result["contender"], result["minutes"]), []).append(result)
    return grouped


def _regions(results: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(next(iter(results[0]["dice"].values())))


def _by_case(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Dice of each region of each case, its mean over seeds."""
    found: dict[str, list[Mapping[str, float]]] = {}
    for result in results:
        for case, dice in result["dice"].items():
            found.setdefault(case, []).append(dice)
    return {
        case: {region: float(np.mean([dice[region] for dice in seeds])) for region in seeds[0]}
        for case, seeds in sorted(found.items())
    }


def _means(cases: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {case: float(np.mean(list(dice.values()))) for case, dice in cases.items()}


def _with_interval(values: Sequence[float]) -> dict[str, float | None]:
    array = np.array(values)
    ends = interval(Ratio(array, np.ones_like(array)), case_weights(len(array)))
    low, high = ends or (None, None)
    return {"value": float(array.mean()), "low": low, "high": high}


def _heat(
    plan: Plan, contender: Contender, minutes: float, fold: int, seed: int, folder: Path
) -> dict[str, Any]:
    if folder.exists():
        # Left by a race that was interrupted: its heat has to be run again.
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    began = time.monotonic()
    heat = Heat(
        data=plan.data.resolve(),
        train=plan.folds[fold]["train"],
        test=plan.folds[fold]["val"],
        seconds=60 * minutes,
        seed=seed,
        folder=folder.resolve(),
        left=lambda: 60 * minutes - (time.monotonic() - began),
    )
    variables = {
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
                env=variables,
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
        "fold": fold,
        "seed": seed,
        "started": started,
        "commit": environment.describe(())["commit"],
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
