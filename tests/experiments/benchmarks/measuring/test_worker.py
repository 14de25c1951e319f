import functools
import os

import pytest

from experiments.benchmarks.measuring.worker import Worker
from tests.documents import ROOT
from tests.experiments.benchmarks.measuring.tasks import Busy, refuse


def task(**arguments):
    return functools.partial(Busy, **arguments)


@pytest.fixture
def worker():
    with Worker("ours", {"PYTHONPATH": str(ROOT)}) as started:
        yield started


def test_a_task_runs_in_a_process_of_its_own(worker):
    worker.load(task(), warm_up=2)
    worker.sample(3)
    outputs = worker.outputs()
    assert outputs["runs"] == 5
    assert outputs["process"] != os.getpid()


def test_both_clocks_are_per_call(worker):
    worker.load(task(seconds=0.05))
    slept = worker.sample(4)
    assert 0.05 <= slept.wall_s < 0.5
    assert slept.cpu_s < 0.02
    worker.load(task(seconds=0.05, spin=True))
    assert worker.sample(2).cpu_s > 0.01


def test_peak_memory_is_that_of_the_task(worker):
    worker.load(task(allocate=1))
    before = worker.peak_gib().running
    worker.load(task(allocate=2**28))
    worker.sample()
    assert 0.2 < worker.peak_gib().running - before < 0.4
    worker.load(task(allocate=1))
    after = worker.peak_gib()
    assert after.running < before + 0.1
    assert after.set_up > before + 0.2


def test_a_failure_is_told_with_its_traceback(worker):
    with pytest.raises(RuntimeError, match=r"ours: load failed\n(.|\n)*OSError: no such task"):
        worker.load(refuse)
    worker.load(task())
    assert worker.outputs()["runs"] == 1


def test_a_process_that_dies_is_told(worker):
    with pytest.raises(RuntimeError, match="ours: the process ended with status 7 at 'load'"):
        worker.load(functools.partial(os._exit, 7))
