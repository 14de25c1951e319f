"""Scores a folder of predictions in parallel, skips bad pairs, and resumes after an interruption."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.failures import Failure
from dsdenseunet.evaluation.calibration import Calibration
from dsdenseunet.evaluation.case import CaseScore
from dsdenseunet.evaluation.pairing import FilePair
from dsdenseunet.evaluation.reading import CODE, LIBRARIES, Scored, score_files
from dsdenseunet.evaluation.regions import REGIONS, TaskScore
from dsdenseunet.runtime import environment
from dsdenseunet.tasks.task import Task

CASES = "cases"
STAGE = "score"


def score_pairs(
    pairs: Sequence[FilePair], out: str | os.PathLike[str], modes: Sequence[str], workers: int, task: Task
) -> tuple[dict[str, Scored], list[Failure]]:
    """Scores pairs of files, or takes what `out`/cases already holds for the same contents and code.

    Args:
        pairs: files of each case.
        out: folder of the results; scores of each case are kept in its `cases`.
        modes: modes to score.
        workers: processes; 1 scores in this one.
        task: whose labels the files hold.

    Returns:
        what was found by case name, in the order of `pairs`, and the pairs that could not be scored, among
        them those whose process the system ended.
    """
    kept = Path(out) / CASES
    state = {
        "code": environment.code_fingerprint(*CODE),
        "versions": environment.describe(LIBRARIES)["versions"],
        "modes": list(modes),
        "task": json.loads(json.dumps(task.to_config())),
    }
    jobs = [(pair, kept / f"{pair.name}.json", state) for pair in pairs]
    scores, failures = {}, {}
    with tqdm(total=len(jobs), unit="case", desc="scoring", disable=None) as progress:
        for pair, result in _results(jobs, workers):
            if isinstance(result, Failure):
                failures[pair.name] = result
                progress.write(f"FAILED: {result.message}")
            else:
                scores[pair.name] = result
            progress.update()
    names = [pair.name for pair in pairs]
    return (
        {name: scores[name] for name in names if name in scores},
        [failures[name] for name in names if name in failures],
    )


_Job = tuple[FilePair, Path, dict[str, Any]]
_Result = tuple[FilePair, Scored | Failure]


def _results(jobs: Sequence[_Job], workers: int) -> Iterator[_Result]:
    if workers <= 1 or len(jobs) <= 1:
        yield from map(_score, jobs)
        return
    left = yield from _in_processes(jobs, workers)
    # A process that dies takes the others' cases with it. One at a time, they show which one it was.
    for job in left:
        if (yield from _in_processes([job], 1)):
            died = InputError(
                job[0].prediction,
                found="the process that scored it was ended by the system, most often as memory ran out",
                expected="up to 2 GB for the largest scans",
                fix="end other programs, or score it on a machine with more memory",
            )
            yield job[0], Failure.of(job[0].prediction, STAGE, died)


def _in_processes(jobs: Sequence[_Job], workers: int) -> Generator[_Result, None, list[_Job]]:
    """Yields results; returns the jobs that were left when a process died."""
    left = []
    # Forking a process that has threads, as numerical libraries do, can deadlock.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        futures = {pool.submit(_score, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                try:
                    yield future.result()
                except BrokenProcessPool:
                    left.append(futures[future])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return left


def _score(job: _Job) -> _Result:
    pair, path, state = job
    try:
        key = {
            **state,
            "prediction": files.sha256(pair.prediction),
            "reference": files.sha256(pair.reference),
            "probabilities": pair.probabilities and files.sha256(pair.probabilities),
        }
        scored = _kept(path, key)
        if scored is None:
            scored = score_files(pair, state["modes"], Task.of(state["task"]))
            values = {mode: score.to_json() for mode, score in scored.scores.items()}
            found = scored.calibration and scored.calibration.to_json()
            files.write_json(path, {"key": key, "scores": values, "calibration": found})
    except Exception as error:  # whatever is wrong with one pair must not end the others
        return pair, Failure.of(pair.prediction, STAGE, error)
    return pair, scored


def _kept(path: Path, key: dict[str, Any]) -> Scored | None:
    """What an earlier run has found under the same key; nothing where its record is missing or damaged."""
    with contextlib.suppress(InputError, AttributeError, KeyError, TypeError):
        record = files.read_json(path)
        if record["key"] == key:
            kinds = {mode: TaskScore if mode == REGIONS else CaseScore for mode in record["scores"]}
            scores = {mode: kinds[mode].from_json(value) for mode, value in record["scores"].items()}
            found = record["calibration"]
            return Scored(scores, None if found is None else Calibration.from_json(found))
    return None
