"""Many cases at once: neither an error in one nor the death of its process ends the others."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from typing import Any


class WorkerDiedError(RuntimeError):
    """The process that worked on a case ended without a result."""

    def __init__(self) -> None:
        super().__init__("the worker process died; most often memory ran out")


def run_each(
    function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[tuple[int, Any]]:
    """Calls a function once for each job and yields what it returned or raised, as soon as it is known.

    If a process dies, the jobs that may have died with it are repeated, each in a process of its own, so that
    only the one that caused it is lost.

    Args:
        function: defined at the top of a module, as other processes find it by name.
        jobs: its arguments.
        workers: processes; with one, the work is done in this process.

    Yields:
        (index of the job, what the function returned; or the exception that it raised).
    """
    if workers <= 1 or len(jobs) <= 1:
        yield from ((index, _attempt(function, job)) for index, job in enumerate(jobs))
        return
    lost = []
    for index, answer in _in_pool(function, dict(enumerate(jobs)), min(workers, len(jobs))):
        if isinstance(answer, WorkerDiedError):
            lost.append(index)
        else:
            yield index, answer
    for index in sorted(lost):
        yield from _in_pool(function, {index: jobs[index]}, 1)


def _in_pool(
    function: Callable[..., Any], jobs: dict[int, tuple[Any, ...]], workers: int
) -> Iterator[tuple[int, Any]]:
    # A forked child of a process that runs threads can hang: the workers are started anew.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(_attempt, function, job): index for index, job in jobs.items()}
        try:
            for future in as_completed(futures):
                try:
                    yield futures[future], future.result()
                except BrokenExecutor:
                    yield futures[future], WorkerDiedError()
        finally:
            pool.shutdown(cancel_futures=True)


def _attempt(function: Callable[..., Any], job: tuple[Any, ...]) -> Any:
    try:
        return function(*job)
    except Exception as error:
        return error
