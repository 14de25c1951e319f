import json
from pathlib import Path

import numpy as np
import pytest

from dsdenseunet.training.logs import RunLog, keep_lines_until, scalars


def write_lines(path: Path, *records: dict) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_resume_drops_later_lines_of_its_phase_only(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    first = {"phase": 1, "step": 9}
    kept = {"phase": 2, "step": 2}
    validated = {"phase": 2, "step": 2, "validation": {}}
    write_lines(
        path, first, kept, validated, {"phase": 2, "step": 3}, {"phase": 2, "step": 4, "validation": {}}
    )
    keep_lines_until(path, phase=2, step=2, validated_step=2)
    assert read_lines(path) == [first, kept, validated]


def test_validation_that_the_checkpoint_does_not_know_is_dropped(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    write_lines(path, {"phase": 1, "step": 4}, {"phase": 1, "step": 4, "validation": {}})
    keep_lines_until(path, phase=1, step=4, validated_step=2)
    assert read_lines(path) == [{"phase": 1, "step": 4}]


def test_line_that_was_cut_off_is_dropped(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"phase": 1, "step": 1}\n{"phase": 1, "st')
    keep_lines_until(path, phase=1, step=5, validated_step=5)
    assert path.read_text() == '{"phase": 1, "step": 1}\n'


def test_lines_and_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    metrics = {"loss": 0.5, "liver_dice": 0.75, "tumour_dice": 0.25, "grad_norm": 1.0, "learning_rate": 0.01}
    log = RunLog(tmp_path, phase=1, start_step=0, validated_step=0, total_steps=4, active=True)
    log.step(1, 1, metrics, steps_per_second=2.0)
    log.validation(1, 1, {"liver_dice": 0.9, "tumour_dice": 0.5, "mean_dice": 0.7}, best=True)
    log.close()
    assert read_lines(tmp_path / "metrics.jsonl") == [
        {"phase": 1, "epoch": 1, "step": 1, **metrics, "steps_per_second": 2.0},
        {
            "phase": 1,
            "epoch": 1,
            "step": 1,
            "validation": {"liver_dice": 0.9, "tumour_dice": 0.5, "mean_dice": 0.7},
        },
    ]
    output = capsys.readouterr()
    assert "mean dice 0.7000 (best so far)" in output.out
    assert "loss 0.5000, liver 0.750, tumour 0.250" in output.err
    assert list((tmp_path / "tensorboard" / "phase1").iterdir())


def test_other_processes_write_nothing(tmp_path: Path):
    log = RunLog(tmp_path, phase=1, start_step=0, validated_step=0, total_steps=4, active=False)
    log.step(1, 1, {"loss": 1.0}, 1.0)
    log.validation(1, 1, {"mean_dice": 1.0}, best=False)
    log.say("nothing")
    log.close()
    assert not list(tmp_path.iterdir())


def test_names_of_scalars():
    metrics = {"loss": 1, "grad_norm": 2, "learning_rate": 3, "dice": np.asarray([0.5, 0.25])}
    assert scalars(metrics) == {
        "loss": 1.0,
        "liver_dice": 0.5,
        "tumour_dice": 0.25,
        "grad_norm": 2.0,
        "learning_rate": 3.0,
    }
    assert set(scalars({**metrics, "dice": np.zeros(1)})) == {
        "loss",
        "class1_dice",
        "grad_norm",
        "learning_rate",
    }
