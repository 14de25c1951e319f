"""How parts are begun, ended and gone on with; what they measure is tried by test_dry_run.py."""

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from experiments.benchmarks.gpu import compile_process, part_process, record, rounds
from experiments.benchmarks.gpu.parts import PARTS, Part
from experiments.benchmarks.gpu.setting import Amounts, Program, Setting
from experiments.benchmarks.measuring.worker import Worker
from tests.documents import ROOT
from tests.experiments.benchmarks.measuring.tasks import Busy, refuse


@pytest.fixture
def setting(tmp_path):
    (tmp_path / "scratch/compiled").mkdir(parents=True)
    return Setting(
        {}, Amounts(), False, tmp_path / "results.jsonl", tmp_path / "scratch", ends=time.time() + 60
    )


@dataclasses.dataclass
class Faked:
    """A part whose results are given."""

    results: list
    error: Exception | None = None

    def measure(self, setting):
        known = setting.known("faked")
        yield from (found for found in self.results if found["case"] not in known)
        if self.error:
            raise self.error

    def programs(self, setting):
        return [Program("good", Busy), Program("bad", refuse)]


def test_results_are_there_one_by_one_and_a_failed_part_goes_on_where_it_was(setting, monkeypatch):
    part = Faked([{"case": "a"}, {"case": "b"}], RuntimeError("lost\nthe device"))
    monkeypatch.setitem(PARTS, "faked", part)
    assert part_process.run(setting, "faked") == 1
    found = record.read(setting.results)
    assert [one["case"] for one in found] == ["a", "b", record.FAILED]
    assert found[-1]["error"] == "RuntimeError: lost\nthe device"
    assert not record.is_done(found, "faked", 1)
    part.results.append({"case": "c"})
    part.error = None
    assert part_process.run(setting, "faked") == 0
    found = record.read(setting.results)
    assert [one["case"] for one in found[3:]] == ["c", record.DONE]
    assert record.is_done(found, "faked", 1) and not record.is_done(found, "faked", 2)


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    path = tmp_path / "results.jsonl"
    assert record.read(path) == []
    record.append(path, {"part": "a", "case": "b"})
    with path.open("a") as stream:
        stream.write('{"part": "a", "ca')
    assert record.read(path) == [{"part": "a", "case": "b"}]
    record.append(path, {"part": "a", "case": "c"})
    assert [found["case"] for found in record.read(path)] == ["b", "c"]


def test_what_is_due(tmp_path, monkeypatch):
    monkeypatch.setitem(PARTS, "once", Part("once", 1, 1))
    monkeypatch.setitem(PARTS, "more", Part("more", 1, 1, more=True))
    results = tmp_path / "results.jsonl"
    assert rounds._is_due(results, "once", 1) and rounds._is_due(results, "once", 2)
    for name in ("once", "more"):
        record.append(results, {"part": name, "case": record.DONE, "round": 1})
    assert [rounds._is_due(results, name, n) for name in ("once", "more") for n in (1, 2)] == [
        *(False, False),
        *(False, True),
    ]


def test_a_part_that_takes_too_long_is_ended_with_all_that_it_began(setting, monkeypatch, tmp_path):
    script = f"sleep 60 & echo -n $! > {tmp_path / 'pid'}; wait"
    monkeypatch.setattr(
        rounds,
        "_start",
        lambda *_: subprocess.Popen(["bash", "-c", script], process_group=0),
    )
    monkeypatch.setitem(PARTS, "slow", Part("slow", 1, 3))
    start = time.monotonic()
    rounds._run_part(setting, "slow", None, threading.Event())
    assert time.monotonic() - start < 30
    assert [found["case"] for found in record.read(setting.results)] == [record.STOPPED, record.TOOK]
    assert not alive(int((tmp_path / "pid").read_text()))


def test_what_was_begun_ends_with_the_program(tmp_path):
    """As where a machine's time is over."""
    script = f"""
import subprocess, sys
from pathlib import Path
from experiments.benchmarks.gpu import rounds
from experiments.benchmarks.gpu.setting import Amounts

def start(module, *arguments):
    process = subprocess.Popen(["sleep", "60"], process_group=0)
    print(process.pid, flush=True)
    return process

rounds._start = start
rounds.run({{}}, ["rates"], Path({str(tmp_path)!r}), 50, Amounts())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    process.stdout.readline()
    begun = [int(process.stdout.readline()) for _ in range(2)]
    process.terminate()
    assert process.wait(timeout=30) == 143
    process.stdout.close()
    assert not any(alive(number) for number in begun)


def alive(number):
    asked = ["ps", "-o", "stat=", "-p", str(number)]
    state = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return state[:1] not in ("", "Z")


def test_a_part_without_its_packages_or_time_is_left_out(setting, monkeypatch):
    monkeypatch.setitem(PARTS, "rich", Part("rich", 1, 3, needs=("no_such_package",)))
    rounds._run_part(setting, "rich", None, threading.Event())
    monkeypatch.setitem(PARTS, "late", Part("late", 1, 3))
    rounds._run_part(dataclasses.replace(setting, ends=time.time() + 5), "late", None, threading.Event())
    found = record.read(setting.results)
    assert [one["case"] for one in found] == [record.LEFT_OUT] * 2
    assert found[0]["why"] == "needs no_such_package" and "too few" in found[1]["why"]


def test_programs_are_compiled_beside_and_waited_for(setting, monkeypatch):
    monkeypatch.setitem(PARTS, "faked", Faked([]))
    monkeypatch.setattr(compile_process.weights, "ensure", lambda setting: None)
    monkeypatch.setattr(compile_process.os, "nice", lambda number: None)
    setting.compiling_id.write_text("0")
    compile_process.run(setting, ["faked"])
    setting.wait_for("good", "bad")
    assert setting.marker("good").exists() and setting.marker("bad").exists()
    found = {one["case"]: one for one in record.read(setting.results)}
    assert "error" not in found["good"] and "no such task" in found["bad"]["error"]


def test_nobody_waits_for_a_compiler_that_has_ended(setting):
    start = time.monotonic()
    setting.wait_for("never")
    assert time.monotonic() - start < 5
    setting.compiling_id.touch()
    dataclasses.replace(setting, ends=time.time() + 0.3).wait_for("never")


def test_the_compiler_stands_still_while_something_is_timed(setting):
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)

    def state():
        asked = ["ps", "-o", "stat=", "-p", str(process.pid)]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout[0]

    try:
        setting.compiling_id.write_text(str(process.pid))
        with setting.quiet():
            assert state() == "T"
        assert state() == "S"
    finally:
        process.kill()
        process.wait()
    with setting.quiet():
        pass


@pytest.mark.parametrize(("version", "peer"), [("2.9.1", False), ("2.11.0", True)])
def test_a_pytorch_with_slow_convolutions_does_not_stand_beside(version, peer, monkeypatch):
    monkeypatch.setattr(rounds, "find_spec", lambda name: object())
    monkeypatch.setattr(rounds.environment, "installed_version", lambda name: version)
    found, why = rounds._peer()
    assert found is peer and version in why


def test_the_record_has_floors_targets_and_what_it_was_made_with():
    rates = [
        {"part": "rates", "case": kind, "rate_of": kind, "per_s": {"median": rate}}
        for kind, rate in (("bfloat16", 100.0), ("bytes", 10.0))
    ]
    step = {"part": "step", "case": "DS, bfloat16, batch 1", "ratio": {"median": 0.8}, "took_s": 6.0}
    step["counted"] = {"dtype": "bfloat16", "operations": 200, "bytes": 10}
    scan = {"part": "volume", "case": "v", "took_s": 8.0, "times": 2, "scan_s": {"median": 8.0}}
    scan["counted"] = step["counted"]
    about = {"part": "step", "case": record.DONE, "round": 1}
    made = {"part": "provenance", "case": "provenance", "provenance": {"commit": "c"}}
    found = record.assemble([made, *rates, step, scan, about])
    assert found["provenance"] == {"commit": "c"} and found["parts"] == [about]
    floors = [one["roofline"]["times_the_floor"] for one in found["results"] if "roofline" in one]
    assert floors == [3.0, 2.0]
    met = {target["target"].split(":")[0]: target["met"] for target in found["targets"]}
    assert met == {
        "DS training step, times PyTorch's speed": True,
        "a scan of 512 x 512 x 400 segmented, seconds": False,
    }
    json.dumps(found, allow_nan=False)


def test_the_reference_says_how_long_each_part_takes():
    text = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    for name, part in PARTS.items():
        assert f"| `{name}` | {part.expected_s} |" in text
    assert sum(part.expected_s for part in PARTS.values()) <= 600


def test_a_worker_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with Worker("here") as worker:
        worker.load(Busy)
        assert worker.outputs()["runs"] == 1
