import json
from pathlib import Path

import jax
import numpy as np
import pytest

from configs.base import base_config
from dsdenseunet.core import files
from dsdenseunet.reporting.results import read_metrics
from dsdenseunet.runtime import out_of_memory, parallel
from dsdenseunet.tasks.lits import TASK
from dsdenseunet.training.logs import RunLog, keep_lines_until, scalars

MODEL = {"family": "dense_unet", "remat": "none", "dtype": "float32"}
SETTING = {"patch": [4, 8, 8], "batch": 1, "accumulate": 1, "remat": "none", "dtype": "float32"}


def open_log(workdir: Path, active: bool = True) -> RunLog:
    config = base_config()
    return RunLog(workdir, "phase1", config, start_step=0, validated_step=0, total_steps=4, active=active)


def write_lines(path: Path, *records: dict) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_resume_drops_later_lines_of_its_phase_only(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    first = {"phase": "phase1", "step": 9}
    kept = {"phase": "phase2", "step": 2}
    validated = {"phase": "phase2", "step": 2, "validation": {}}
    write_lines(
        path,
        first,
        kept,
        validated,
        {"phase": "phase2", "step": 3},
        {"phase": "phase2", "step": 4, "validation": {}},
    )
    keep_lines_until(path, phase="phase2", step=2, validated_step=2)
    assert read_lines(path) == [first, kept, validated]


def test_validation_that_the_checkpoint_does_not_know_is_dropped(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    write_lines(path, {"phase": "phase1", "step": 4}, {"phase": "phase1", "step": 4, "validation": {}})
    keep_lines_until(path, phase="phase1", step=4, validated_step=2)
    assert read_lines(path) == [{"phase": "phase1", "step": 4}]


def test_lines_of_a_run_before_phases_had_names(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    write_lines(path, {"phase": 1, "step": 9}, {"phase": 2, "step": 2}, {"phase": 2, "step": 3})
    keep_lines_until(path, phase="phase2", step=2, validated_step=2)
    assert read_lines(path) == [{"phase": 1, "step": 9}, {"phase": 2, "step": 2}]
    write_lines(path, *read_lines(path), {"phase": "phase2", "step": 3})
    assert [line["phase"] for line in read_metrics(path)] == ["phase1", "phase2", "phase2"]


def test_line_that_was_cut_off_is_dropped(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"phase": "phase1", "step": 1}\n{"phase": "phase1", "st')
    keep_lines_until(path, phase="phase1", step=5, validated_step=5)
    assert path.read_text() == '{"phase": "phase1", "step": 1}\n'


class Card:
    """A device whose allocator counts."""

    device_kind = "NVIDIA GeForce RTX 3070"

    def __init__(self, peak, limit):
        self.peak, self.limit = peak, limit

    def memory_stats(self):
        return {"peak_bytes_in_use": self.peak, "bytes_limit": self.limit, "bytes_in_use": 1}


def test_memory_of_the_fullest_device_beside_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cards = [Card(5, 90), Card(7, 80)]
    monkeypatch.setattr(jax, "local_devices", lambda: cards)
    plan = {"rows": [{**SETTING, "memory": {"total": 6}}, {**SETTING, "batch": 2, "memory": {"total": 9}}]}
    plan |= {"model": dict(MODEL), "device_kind": Card.device_kind, "available_gib": 1e-9, "budget_gib": 1e-9}
    files.write_json(tmp_path / "cache/plans/plan.json", plan)
    other_card = {**plan, "device_kind": "another", "rows": [{**SETTING, "memory": {"total": 1}}]}
    files.write_json(tmp_path / "cache/plans/a.json", other_card)
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    config = {
        "data": {"patch_size": (4, 8, 8), "batch_size": 1},
        "training": {"accumulate": 1},
        "model": MODEL,
    }
    planned = out_of_memory.planned_bytes(config, parallel.first_device_memory(), 1)
    memory = {**parallel.memory_use(), "planned_bytes": planned}
    assert memory == {"peak_bytes": 7, "limit_bytes": 80, "planned_bytes": 6}
    config["data"]["batch_size"] = 3
    assert out_of_memory.planned_bytes(config, parallel.first_device_memory(), 1) is None

    log = open_log(tmp_path)
    metrics = {"loss": 0.5, "liver_dice": 0.75, "tumour_dice": 0.25, "grad_norm": 1.0, "learning_rate": 0.01}
    for step, peak in enumerate((7, 7, 8), start=1):
        cards[1].peak = peak
        log.step(1, step, metrics, 2.0, {**parallel.memory_use(), "planned_bytes": planned})
    log.close()
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [line.get("memory") for line in lines] == [memory, None, {**memory, "peak_bytes": 8}]


def test_a_device_that_does_not_count_has_no_memory():
    assert parallel.memory_use() == {}


def test_lines_and_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    metrics = {"loss": 0.5, "liver_dice": 0.75, "tumour_dice": 0.25, "grad_norm": 1.0, "learning_rate": 0.01}
    log = open_log(tmp_path)
    log.step(1, 1, metrics, steps_per_second=2.0)
    log.validation(1, 1, {"liver_dice": 0.9, "tumour_dice": 0.5, "mean_dice": 0.7}, best=True)
    log.volumes(1, 4, {"liver_dice": 0.8}, best_epoch=3, cases=["volume-7"])
    log.close()
    assert read_lines(tmp_path / "metrics.jsonl") == [
        {"phase": "phase1", "epoch": 1, "step": 1, **metrics, "steps_per_second": 2.0},
        {
            "phase": "phase1",
            "epoch": 1,
            "step": 1,
            "validation": {"liver_dice": 0.9, "tumour_dice": 0.5, "mean_dice": 0.7},
        },
        {"phase": "phase1", "epoch": 1, "step": 4, "volumes": {"liver_dice": 0.8}},
    ]
    output = capsys.readouterr()
    # No terminal: a line where there is no bar to draw.
    assert output.out.startswith("phase1, step 1 of 4: loss 0.5000, liver 0.750, tumour 0.250\n")
    assert output.err == ""
    assert "mean dice 0.7000 (best so far); validation took 0.0 s, " in output.out
    assert "volumes liver dice 0.8000 (weights of epoch 3 on volume-7); " in output.out
    assert list((tmp_path / "tensorboard" / "phase1").iterdir())


def test_other_processes_write_nothing(tmp_path: Path):
    log = open_log(tmp_path, active=False)
    log.step(1, 1, {"loss": 1.0}, 1.0)
    log.validation(1, 1, {"mean_dice": 1.0}, best=False)
    log.say("nothing")
    log.close()
    assert not list(tmp_path.iterdir())


def test_names_of_scalars():
    metrics = {"loss": 1, "grad_norm": 2, "learning_rate": 3, "dice": np.asarray([0.5, 0.25])}
    assert scalars(metrics, TASK.regions) == {
        "loss": 1.0,
        "liver_dice": 0.5,
        "tumour_dice": 0.25,
        "grad_norm": 2.0,
        "learning_rate": 3.0,
    }
