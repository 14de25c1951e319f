"""A run that goes on holds no more of a device's memory than one that was never stopped."""

from __future__ import annotations

import gc
import importlib.util
import json
import sys
from pathlib import Path

import jax
import pytest
from ml_collections import ConfigDict

from dsdenseunet.runtime import parallel
from dsdenseunet.training import cascade
from tests.training import tiny
from tests.training.test_logs import read_lines


@pytest.fixture
def config(config: ConfigDict, tiny_network: None) -> ConfigDict:
    config.training.phase = "phase1"
    return config


def bytes_at_each_step(config: ConfigDict, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What this process holds on its device whenever a step is dispatched."""
    compile_step, seen = parallel.compile_step, []
    gc.collect()
    others = {id(array) for array in jax.live_arrays()}

    def watched(*arguments):
        step = compile_step(*arguments)

        def run(*arrays):
            gc.collect()
            seen.append(sum(array.nbytes for array in jax.live_arrays() if id(array) not in others))
            return step(*arrays)

        return run

    with monkeypatch.context() as patch:
        patch.setattr(parallel, "compile_step", watched)
        cascade.run(config, workdir)
    return seen


def test_a_resumed_run_holds_one_state(config: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    undisturbed = bytes_at_each_step(config, tmp_path / "undisturbed", monkeypatch)
    assert len(undisturbed) == 4
    config.phases.phase1.epochs = 1
    first = bytes_at_each_step(config, tmp_path / "stopped", monkeypatch)
    config.phases.phase1.epochs = 2
    then = bytes_at_each_step(config, tmp_path / "stopped", monkeypatch)
    assert len(first) == len(then) == 2
    assert max(then) <= max(undisturbed)


@pytest.mark.gpu
@pytest.mark.skipif(jax.default_backend() != "gpu", reason="without a GPU")
@pytest.mark.skipif(importlib.util.find_spec("grain") is None, reason="without Grain")
def test_a_run_at_the_limit_of_its_card_goes_on(cache: Path, tmp_path: Path):
    """The allocator gets a tenth more than the run needed; what a restore leaves must fit in that."""
    fields = ("--config.training.phase=phase1", "--config.data.patch_size=(16,128,128)")

    def run(workdir: Path, epochs: int, **environment: str) -> list[dict]:
        line = tiny.command(cache, workdir, *fields, f"--config.phases.phase1.epochs={epochs}")
        tiny.run(line, JAX_PLATFORMS="cuda,cpu", **environment)
        return [step for step in read_lines(workdir / "metrics.jsonl") if "loss" in step]

    steps = run(tmp_path / "free", 2)
    needed = max(step["memory"]["peak_bytes"] for step in steps if "memory" in step)
    script = "import jax, json; print(json.dumps(jax.devices()[0].memory_stats()['bytes_limit']))"
    limit = json.loads(tiny.run([sys.executable, "-c", script], XLA_PYTHON_CLIENT_MEM_FRACTION="0.5"))
    share = {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{1.1 * needed / (2 * limit):.6f}"}
    assert len(run(tmp_path / "limited", 1, **share)) == 2
    assert len(run(tmp_path / "limited", 2, **share)) == 4
