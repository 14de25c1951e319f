"""Eight devices give one device's run; on a CPU they are forced by an XLA flag."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.runtime import parallel, supervision
from tests.training import tiny

EIGHT = tiny.devices(8)


class Mesh:
    """As much of a mesh as the check looks at."""

    def __init__(self, devices: int):
        self.devices = np.empty(devices, object)


@pytest.mark.parametrize(("batch", "accumulate", "devices"), [(1, 1, 1), (8, 1, 8), (16, 2, 8), (6, 3, 2)])
def test_batches_that_fit(batch: int, accumulate: int, devices: int):
    parallel.check_batch_size(batch, accumulate, Mesh(devices))


@pytest.mark.parametrize(
    ("batch", "accumulate", "devices", "fitting"),
    [(1, 1, 8, "=8,"), (12, 1, 8, "=8 or 16,"), (20, 2, 8, "=16 or 32,")],
)
def test_batch_that_does_not_fit_names_those_that_do(batch: int, accumulate: int, devices: int, fitting: str):
    with pytest.raises(InputError) as error:
        parallel.check_batch_size(batch, accumulate, Mesh(devices))
    assert f"--config.data.batch_size{fitting}" in error.value.fix


def test_eight_devices_equal_one(cache: Path, tmp_path: Path):
    # Keys, batches and BatchNorm statistics are those of the global batch.
    arguments = ["--config.data.batch_size=16", "--config.training.accumulate=2"]
    arguments += ["--config.loss.dice.weight=1.0", "--config.loss.deep_supervision=(0.5,)"]
    arguments += ["--config.model.auxiliary_outputs=1"]
    one, eight = tmp_path / "one", tmp_path / "eight"
    tiny.run(tiny.command(cache, one, *arguments))
    output = tiny.run(tiny.command(cache, eight, *arguments), **EIGHT)
    assert "phase2: done" in output
    assert_close(eight, one)

    # A checkpoint of eight devices goes on on one.
    output = tiny.run([*tiny.command(cache, eight, *arguments), "--extend_to=3"])
    assert "devices 8 -> 1" in output
    assert "resumed at step 4" in output


def start_processes(line: list[str], count: int, **environment: str) -> list[subprocess.Popen[str]]:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    together = [f"--coordinator=localhost:{port}", f"--processes={count}"]
    return [tiny.start([*line, *together, f"--process={index}"], **environment) for index in range(count)]


def test_two_processes_equal_one_and_one_goes_on_from_two(cache: Path, reference: Path, tmp_path: Path):
    two = tmp_path / "two"
    line = tiny.command(cache, two, "--config.training.phase=phase1")
    processes = start_processes(line, 2)
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    # Only the first process talks and writes logs.
    assert "phase1: done" in outputs[0]
    assert "phase1" not in outputs[1]
    assert len(list((two / "tensorboard" / "phase1").iterdir())) == 1

    assert_close(two, reference, "phase1")
    assert sum("loss" in line for line in (two / "metrics.jsonl").read_text().splitlines()) == 4
    output = tiny.run([*line, "--extend_to=3"])
    assert "processes 2 -> 1" in output
    assert "resumed at step 4" in output


@pytest.mark.long
def test_four_processes_equal_one(cache: Path, tmp_path: Path):
    arguments = ("--config.data.batch_size=8", "--config.training.accumulate=2")
    four, one = tmp_path / "four", tmp_path / "one"
    processes = start_processes(tiny.command(cache, four, *arguments), 4)
    outputs = [process.communicate(timeout=600)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    tiny.run(tiny.command(cache, one, *arguments))
    assert_close(four, one)


LOST = "error: another process of this run, or the connection to it\n  found:    it ended without a message"


def run_until_trained(
    cache: Path, workdir: Path, *more: str
) -> tuple[list[str], list[subprocess.Popen[str]]]:
    """Two processes, some steps into a run of a minute or more."""
    arguments = ("--config.training.phase=phase1", "--config.phases.phase1.epochs=2000")
    line = tiny.command(cache, workdir, *arguments, "--config.training.validate_epochs=100", *more)
    processes = start_processes(line, 2)
    log = workdir / "metrics.jsonl"
    while not log.exists() or len(log.read_text().splitlines()) < 10:
        assert processes[0].poll() is None, processes[0].communicate()[0]
        time.sleep(0.1)
    return line, processes


def last_step(workdir: Path) -> int:
    return json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])["step"]


@pytest.mark.parametrize("victim", [0, 1])
def test_process_that_dies_ends_the_others_with_a_clear_message(cache: Path, tmp_path: Path, victim: int):
    """Also the first, which holds the runtime's coordinator."""
    _, processes = run_until_trained(cache, tmp_path)
    processes[victim].kill()
    killed = time.monotonic()
    output, _ = processes[1 - victim].communicate(timeout=300)
    assert time.monotonic() - killed < 60
    assert processes[1 - victim].returncode == supervision.EXIT_PROCESS_LOST, output
    assert LOST in output
    assert "the same commands resume from the last checkpoint" in output.splitlines()[-1]
    processes[victim].communicate()


@pytest.mark.long
def test_process_that_stops_answering_ends_the_others_with_a_clear_message(cache: Path, tmp_path: Path):
    """A lost host or network: no connection is closed, so that only the missing heartbeat tells."""
    line, processes = run_until_trained(cache, tmp_path)
    (child,) = map(
        int, Path(f"/proc/{processes[1].pid}/task/{processes[1].pid}/children").read_text().split()
    )
    os.kill(child, signal.SIGSTOP)
    stopped = time.monotonic()
    output, _ = processes[0].communicate(timeout=300)
    assert time.monotonic() - stopped < 60
    assert processes[0].returncode == supervision.EXIT_PROCESS_LOST, output
    assert LOST in output
    processes[1].kill()
    processes[1].communicate()
    processes = start_processes([*line, f"--config.phases.phase1.epochs={last_step(tmp_path) // 2 + 1}"], 2)
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert "resumed at step" in outputs[0]


@pytest.mark.parametrize("receiver", [0, 1])
def test_signal_to_one_process_stops_all_within_an_epoch_and_the_restart_resumes(
    cache: Path, tmp_path: Path, receiver: int
):
    """An epoch of ten thousand steps takes longer than any scheduler waits."""
    line, processes = run_until_trained(cache, tmp_path, "--config.training.steps_per_epoch=10000")
    processes[receiver].terminate()
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [143, 143], outputs
    assert "the state is saved" in outputs[0]
    step = last_step(tmp_path)
    assert step < 10000
    process = tiny.start(line)
    for text in process.stdout:
        if "resumed at" in text:
            process.terminate()
            break
    assert f"resumed at step {step};" in text
    process.communicate(timeout=60)
    assert process.returncode == 143


def assert_close(workdir: Path, reference: Path, phase: str = "phase2") -> None:
    """Sums in another order differ in the last bits only."""
    got, expected = tiny.final_arrays(workdir, phase), tiny.final_arrays(reference, phase)
    assert got.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(got[name], expected[name], rtol=2e-4, atol=2e-6, err_msg=name)
