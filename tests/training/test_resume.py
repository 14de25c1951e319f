"""Killed and restarted by the same command, a run ends bit for bit as one that was not."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from dsdenseunet.training.checkpoint import load_best
from tests.training import tiny


def assert_same_run(workdir: Path, reference: Path) -> None:
    for phase in ("phase1", "phase2"):
        got, expected = tiny.final_arrays(workdir, phase), tiny.final_arrays(reference, phase)
        assert got.keys() == expected.keys()
        for name in expected:
            np.testing.assert_array_equal(got[name], expected[name], err_msg=f"{phase} {name}")
        best, expected_best = load_best(workdir, phase)[1], load_best(reference, phase)[1]
        np.testing.assert_equal(best, expected_best)
    assert log_lines(workdir) == log_lines(reference)


def log_lines(workdir: Path) -> list[dict[str, object]]:
    """The log without its clock."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    ends = {line["phase"]: line["step"] for line in lines}
    for line in lines:
        line.pop("steps_per_second", None)
    # A run that was extended scored whole volumes at its first end too.
    return [line for line in lines if "volumes" not in line or line["step"] == ends[line["phase"]]]


def killed_start(line: list[str], point: str) -> None:
    process = tiny.start(line, TINY_KILL_AT=point)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, f"{point} was never reached:\n{output}"


def test_killed_at_a_step_in_a_save_and_between_phases(cache: Path, reference: Path, tmp_path: Path):
    line = tiny.command(cache, tmp_path / "run")
    # In the second epoch; in the middle of a save; between the phases; with the best weights half written.
    for point in ("batch:4", "save:1", "phase:1", "best:1"):
        killed_start(line, point)
    tiny.run(line)
    assert_same_run(tmp_path / "run", reference)


def test_same_seed_same_bits(cache: Path, reference: Path, tmp_path: Path):
    tiny.run(tiny.command(cache, tmp_path / "run", "--config.data.threads=1"))
    assert_same_run(tmp_path / "run", reference)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_saves_and_stops(
    cache: Path, reference: Path, tmp_path: Path, number: signal.Signals, status: int
):
    line = tiny.command(cache, tmp_path / "run")
    process = tiny.start(line)
    while not log_lines_so_far(tmp_path / "run"):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(number)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == status, output
    assert f"stopped by {number.name}" in output
    tiny.run(line)
    assert_same_run(tmp_path / "run", reference)


def log_lines_so_far(workdir: Path) -> bool:
    path = workdir / "metrics.jsonl"
    return path.exists() and bool(path.read_text())


def test_finished_run_says_so_and_can_be_extended(cache: Path, tmp_path: Path):
    line = tiny.command(cache, tmp_path / "run")
    tiny.run(line)
    before = tiny.final_arrays(tmp_path / "run")
    assert "phase2: done" in tiny.run(line)
    np.testing.assert_equal(tiny.final_arrays(tmp_path / "run"), before)

    tiny.run([*line, "--extend_to=3"])
    longer = tmp_path / "longer"
    tiny.run(tiny.command(cache, longer, "--config.phases.phase2.epochs=3"))
    assert_same_run(tmp_path / "run", longer)

    output = tiny.run(line, expect=2)
    assert "config.phases.phase2.epochs: 3 -> 2" in output
    assert "--extend_to=3" in output


@pytest.mark.long
def test_killed_at_least_twenty_times(cache: Path, tmp_path: Path):
    # Long enough that a fast machine, which comes far between two kills, is not done before the last.
    arguments = ("--config.phases.phase1.epochs=24", "--config.phases.phase2.epochs=24")
    undisturbed, workdir = tmp_path / "undisturbed", tmp_path / "run"
    tiny.run(tiny.command(cache, undisturbed, *arguments))
    line = tiny.command(cache, workdir, *arguments)
    rng = random.Random(0)
    kills = 0
    for point in ("batch:1", "save:1", "best:1", "rename:1", "rename:3", "rename:6"):
        killed_start(line, point)
        kills += 1
    # Anywhere: start-up, steps, validation, saves, the change of phase.
    phase_one_over = False
    while kills < 30:
        if not phase_one_over and kills >= 15:
            killed_start(line, "phase:1")
            phase_one_over = True
            kills += 1
            continue
        process = tiny.start(line)
        seen = len(lines_of(workdir))
        more, pause = rng.randint(0, 2), rng.random() * 0.3
        while process.poll() is None and len(lines_of(workdir)) < seen + more:
            time.sleep(0.005)
        time.sleep(pause)
        process.kill()
        output, _ = process.communicate(timeout=300)
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0, output
            break
        kills += 1
    tiny.run(line)
    assert kills >= 20
    assert_same_run(workdir, undisturbed)


def lines_of(workdir: Path) -> list[str]:
    path = workdir / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []
