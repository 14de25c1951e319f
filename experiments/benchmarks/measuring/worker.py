"""A process of its own for each side of a comparison: they share nothing but the processor.

In a single process, spinning threads of one library would slow the other down, and their memory could not be
told apart.
"""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np

from experiments.benchmarks.measuring import peak_memory

# PyTorch allocates each map by itself: it is fastest where the C library keeps what is freed, in huge pages.
_KEPT = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1099511627776"
HUGE_PAGES = "glibc.malloc.hugetlb=1"
TUNED = {"GLIBC_TUNABLES": f"{_KEPT}:{HUGE_PAGES}"}
# The process finds this module wherever it is started from.
_PATH = os.pathsep.join(
    [str(Path(__file__).resolve().parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
)


class Task(Protocol):
    """Something that is timed."""

    def run(self) -> None:
        """Does it once; all of it is done on return."""

    def outputs(self) -> dict[str, np.ndarray]:
        """What it computes, to be compared with what the other side does."""


class Sample(NamedTuple):
    """Seconds of one call: on the clock, and of processor time over all threads of the process."""

    wall_s: float
    cpu_s: float


class Peak(NamedTuple):
    """Most memory that was resident, in GiB, libraries included: since the task was loaded, and before."""

    running: float
    set_up: float


class Worker:
    """One process that holds one task at a time.

    Args:
        name: for messages.
        environment: variables on top of this process's.
    """

    def __init__(self, name: str, environment: Mapping[str, str] | None = None):
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": _PATH, **(environment or {})},
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process; a second time nothing happens."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def load(self, make_task: Callable[[], Task], warm_up: int = 1, limit_s: float | None = None) -> None:
        """Makes a task in place of the last one and runs it `warm_up` times; picklable.

        A process that takes longer than `limit_s` is ended.

        Raises:
            RuntimeError: it failed or was ended.
        """
        if limit_s is None:
            self._ask("load", make_task, warm_up)
            return
        timer = threading.Timer(max(0.0, limit_s), self._process.kill)
        timer.start()
        try:
            self._ask("load", make_task, warm_up)
        finally:
            timer.cancel()

    def sample(self, calls: int = 1) -> Sample:
        """Mean over `calls` calls in a row."""
        return self._ask("sample", calls)

    def outputs(self) -> dict[str, np.ndarray]:
        """The task's `outputs()`."""
        return self._ask("outputs")

    def peak_gib(self) -> Peak:
        """Of the process so far."""
        return self._ask("peak_gib")

    def _ask(self, request: str, *arguments: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        try:
            pickle.dump((request, arguments), self._process.stdin)
            self._process.stdin.flush()
            failed, answer = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError):
            code = self._process.wait()
            raise RuntimeError(f"{self.name}: the process ended with status {code} at {request!r}") from None
        if failed:
            raise RuntimeError(f"{self.name}: {request} failed\n{answer}")
        return answer


def our_process(name: str = "ours") -> Worker:
    """A process such as experiments.train with its memory in huge pages (docs/how-to/train.md)."""
    return Worker(name, {"GLIBC_TUNABLES": HUGE_PAGES})


class _Served:
    """The other end: answers requests by the names of its methods."""

    _task: Any
    _set_up_gib: float

    def load(self, make_task: Callable[[], Task], warm_up: int) -> None:
        # The last one's memory is free before the next one needs its own.
        self._task = None
        gc.collect()
        self._task = make_task()
        for _ in range(warm_up):
            self._task.run()
        self._set_up_gib = peak_memory.peak_bytes() / 2**30
        peak_memory.reset_peak()

    def sample(self, calls: int) -> Sample:
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(calls):
            self._task.run()
        wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu
        return Sample(wall_s / calls, cpu_s / calls)

    def outputs(self) -> dict[str, np.ndarray]:
        return self._task.outputs()

    def peak_gib(self) -> Peak:
        return Peak(peak_memory.peak_bytes() / 2**30, self._set_up_gib)


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    served = _Served()
    while True:
        try:
            request, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            answer = (False, getattr(served, request)(*arguments))
        except Exception:
            answer = (True, traceback.format_exc())
        pickle.dump(answer, answers)
        answers.flush()


def serve() -> None:
    """Answers a `Worker`, which starts this as a process of its own, until it closes the pipe."""
    # Output of libraries must not get between the answers.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        _serve(sys.stdin.buffer, answers)
