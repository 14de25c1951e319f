"""The command line of `python -m experiments.train`, as a user meets it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training import tiny


def train(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "experiments.train", *arguments],
        cwd=tiny.ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("--config.optimizer.lr=0.1", "--config.optimizer.lr=0.1: the config has no field 'lr'"),
        ("--config.data.batch_size=1.5", "--config.data.batch_size=1.5"),
        ("--config.data.patch_size=(12,224)", "(12, 224)"),
        ("--config.data.patch_size=(12,224,200)", "(12, 224, 192)"),
        ("--config.data.cache=/no/such/cache", "/no/such/cache"),
        ("--no_such_flag", "no_such_flag"),
        ("--processes=2", "no --coordinator"),
        ("--coordinator=host:1", "Number of processes must be defined"),
    ],
)
def test_bad_input_is_one_clear_error_and_nothing_is_written(tmp_path: Path, argument: str, named: str):
    result = train("--config=configs/ds_dense_unet_569.py:ds", f"--workdir={tmp_path / 'run'}", argument)
    assert result.returncode == 2
    assert named in result.stderr
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    for part in ("found:", "expected:", "to do:"):
        assert part in result.stderr
    assert not (tmp_path / "run").exists()


def test_config_file_that_does_not_exist(tmp_path: Path):
    result = train("--config=configs/none.py", f"--workdir={tmp_path / 'run'}")
    assert result.returncode == 2
    assert "configs/none.py: no such file" in result.stderr


def test_workdir_is_required():
    result = train("--config=configs/ds_dense_unet_569.py:ds")
    assert result.returncode == 2
    assert "--workdir" in result.stderr


def test_real_network_trains_and_validates(tmp_path: Path):
    cache = tiny.make_cache(tmp_path)
    result = train(
        f"--config={tiny.__file__}",
        f"--workdir={tmp_path / 'run'}",
        f"--config.data.cache={cache}",
        "--config.training.phase=phase1",
        "--config.phases.phase1.epochs=1",
    )
    assert result.returncode == 0, result.stderr
    assert "5,239 parameters" in result.stdout
    assert "phase1: done, 1 epochs" in result.stdout
    assert "step 1 of" in result.stdout
    assert "\r" not in result.stdout + result.stderr
