import errno
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dsdenseunet import files
from dsdenseunet.errors import InputError
from dsdenseunet.models import registry
from dsdenseunet.training import cascade
from dsdenseunet.training.checkpoint import Checkpoints
from dsdenseunet.training.faults import explained
from dsdenseunet.training.settings import config_to_json
from tests.training import tiny


def test_disk_that_fills_up_in_a_save_loses_nothing(
    cache: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = tiny.get_config()
    config.data.cache = str(cache)
    monkeypatch.setattr(registry, "build", tiny.build_tiny)
    real = Checkpoints.save

    def full(self: Checkpoints, state, iterator, validated_step: int) -> None:
        if int(state.step) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(self, state, iterator, validated_step)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", full)
        with pytest.raises(InputError, match="the disk became full") as error:
            cascade.run(config, tmp_path)
        assert "the same command goes on" in error.value.fix
    cascade.run(config, tmp_path)
    np.testing.assert_equal(tiny.final_arrays(tmp_path), tiny.final_arrays(reference))


def can_mount() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not can_mount(), reason="needs user namespaces, to mount a small disk")
def test_small_disk_ends_in_a_clear_error(cache: Path, tmp_path: Path):
    command = " ".join(tiny.command(cache, tmp_path / "run"))
    script = f"mount -t tmpfs -o size=200k none {tmp_path} && {command}"
    output = tiny.run(["unshare", "-rm", "sh", "-c", script], expect=2)
    assert "the disk became full while writing" in output


def test_out_of_memory_names_smaller_plans():
    config = tiny.get_config()
    config.data.batch_size = 4
    with (
        pytest.raises(InputError, match="RESOURCE_EXHAUSTED: 12 GiB") as error,
        explained(Path("run"), config),
    ):
        raise RuntimeError("RESOURCE_EXHAUSTED: 12 GiB\nmore")
    assert "--config.model.remat=block; --config.training.accumulate=4" in error.value.fix
    config.model.remat, config.model.dtype, config.training.accumulate = "block", "bfloat16", 4
    with pytest.raises(InputError) as error, explained(Path("run"), config):
        raise MemoryError
    assert "--config.data.batch_size=1 --config.training.accumulate=1" in error.value.fix


@pytest.mark.parametrize(
    "message",
    ["RESOURCE_EXHAUSTED: Out of memory allocating", "Failed to determine best cudnn convolution algorithm"],
)
def test_out_of_memory_names_the_plan_that_fits(message, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = tiny.get_config()
    config.data.batch_size = 8
    rows = [
        {"patch": [4, 32, 32], "batch": batch, "accumulate": 1, "remat": remat, "dtype": "float32"}
        | {"fits": fits, "memory": {"total": gib * 2**30}}
        for batch, remat, fits, gib in ((8, "none", False, 9), (4, "none", True, 5), (6, "block", True, 6))
    ]
    plan = {"model": config_to_json(config)["model"], "device_kind": "cpu", "rows": rows}
    plan |= {"budget_gib": 8, "available_gib": 7.2}
    files.write_json(tmp_path / "dsdenseunet" / "plans" / "one.json", plan)
    with pytest.raises(InputError, match="a batch of 8 patches") as error, explained(Path("run"), config):
        raise RuntimeError(message)
    fix = error.value.fix
    assert "--config.data.batch_size=4 --config.training.accumulate=1 --config.model.remat=none" in fix
    assert "--config.model.remat=block --config.model.dtype=float32 (6.0 GiB)" in fix
    assert "python -m experiments.plan_memory --config=configs/tiny.py --budget_gib=8" in fix
    # Another network's plan says nothing.
    config.model.growth_rate += 1
    with pytest.raises(InputError) as error, explained(Path("run"), config):
        raise RuntimeError(message)
    assert "by the plan" not in error.value.fix


def test_wrapped_disk_error_is_found_and_others_pass():
    config = tiny.get_config()
    with pytest.raises(InputError, match="disk"), explained(Path("run"), config):
        try:
            raise OSError(errno.ENOSPC, "no space")
        except OSError as error:
            raise RuntimeError("while saving") from error
    with pytest.raises(KeyError), explained(Path("run"), config):
        raise KeyError("else")
