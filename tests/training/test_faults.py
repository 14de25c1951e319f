import ast
import errno
import os
import re
import shutil
import subprocess
import types
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.models import registry
from dsdenseunet.runtime import parallel
from dsdenseunet.training import cascade
from dsdenseunet.training.checkpoint import Checkpoints
from dsdenseunet.training.faults import explained
from dsdenseunet.training.settings import check_config, config_to_json
from tests.training import tiny


def test_disk_that_fills_up_in_a_save_loses_nothing(
    cache: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = tiny.get_config()
    config.data.cache = str(cache)
    monkeypatch.setattr(registry, "build", tiny.build_tiny)
    real = Checkpoints.save

    def full(self: Checkpoints, state, *arguments) -> None:
        if int(state.step) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(self, state, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", full)
        with pytest.raises(InputError, match="the disk became full") as error:
            cascade.run(config, tmp_path)
        assert "the same command continues" in error.value.fix
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
    assert "--config.model.remat=layer; --config.training.accumulate=4" in error.value.fix
    config.model.remat, config.model.dtype, config.training.accumulate = "layer", "bfloat16", 4
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
        for batch, remat, fits, gib in (
            (8, "none", False, 9),
            (4, "none", True, 5),
            (6, "layer", True, 6),
            # Of a version that knew another way.
            (6, "block", True, 6),
        )
    ]
    plan = {"model": config_to_json(config)["model"], "device_kind": "cpu", "rows": rows}
    plan |= {"budget_gib": 8, "available_gib": 7.2}
    files.write_json(tmp_path / "dsdenseunet" / "plans" / "one.json", plan)
    with pytest.raises(InputError, match="a batch of 8 patches") as error, explained(Path("run"), config):
        raise RuntimeError(message)
    fix = error.value.fix
    assert "--config.data.batch_size=4 --config.training.accumulate=1 --config.model.remat=none" in fix
    assert "--config.model.remat=layer --config.model.dtype=float32 (6.0 GiB)" in fix
    assert "block" not in fix
    assert "python -m experiments.plan_memory --config=configs/tiny.py --budget_gib=8" in fix
    # Another network's plan says nothing.
    config.model.growth_rate += 1
    with pytest.raises(InputError) as error, explained(Path("run"), config):
        raise RuntimeError(message)
    assert "by the plan" not in error.value.fix


@pytest.mark.parametrize("devices", [1, 2, 8])
@pytest.mark.parametrize("patch", [(4, 32, 32), (8, 32, 32), (12, 32, 64), (12, 224, 224)])
@pytest.mark.parametrize(("patches", "accumulate"), [(1, 1), (4, 1), (4, 2), (4, 4)])
@pytest.mark.parametrize(("remat", "dtype"), [("none", "float32"), ("layer", "bfloat16")])
def test_every_flag_that_is_advised_is_one_that_training_takes(
    devices, patch, patches, accumulate, remat, dtype, monkeypatch: pytest.MonkeyPatch
):
    config = tiny.get_config()
    config.data.batch_size, config.training.accumulate = patches * devices, accumulate
    config.data.patch_size, config.model.remat, config.model.dtype = patch, remat, dtype
    monkeypatch.setattr(parallel, "device_count", lambda: devices)
    with pytest.raises(InputError) as error, explained(Path("run"), config):
        raise MemoryError
    tried, _, _ = error.value.fix.partition("; to see")
    pieces = tried.removeprefix("try, in this order: ").split("; ")
    if pieces == ["a device with more memory"]:
        assert (patches, patch, remat, dtype) == (1, (4, 32, 32), "layer", "bfloat16")
        return
    for piece in pieces:
        changed = ConfigDict(config.to_dict())
        for name, value in re.findall(r"--config\.([\w.]+)=(\S+)", piece):
            section, field = name.split(".")
            was = changed[section][field]
            value = value.strip("'")
            changed[section][field] = value if isinstance(was, str) else ast.literal_eval(value)
            assert changed[section][field] != was, piece
        assert changed != config, f"{piece}: nothing that can be typed"
        check_config(changed)
        registry.check_patch(registry.build(changed.model).stride, changed.data.patch_size)
        mesh = types.SimpleNamespace(devices=np.empty(devices, object))
        parallel.check_batch_size(changed.data.batch_size, changed.training.accumulate, mesh)


@pytest.mark.parametrize(
    ("message", "now", "advised"),
    [
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 GiB", None, "=0.9"),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 GiB", "0.95", None),
        ("Failed to determine best cudnn convolution algorithm", None, "=0.6"),
        ("INTERNAL: CUDNN_STATUS_ALLOC_FAILED", "0.9", "=0.75"),
        ("could not create cublas handle: CUBLAS_STATUS_NOT_INITIALIZED", "0.3", None),
        ("CUDA_ERROR_OUT_OF_MEMORY: out of memory", "what", "=0.6"),
    ],
)
def test_out_of_memory_names_another_share_of_the_card(
    message, now, advised, monkeypatch: pytest.MonkeyPatch
):
    """Less for JAX where cuDNN or the driver failed beside it, more where JAX's own share is used up."""
    monkeypatch.setattr(parallel, "first_device_memory", lambda: ("NVIDIA Some Card", 6 * 2**30))
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    if now is not None:
        monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", now)
    with pytest.raises(InputError) as error, explained(Path("run"), tiny.get_config()):
        raise RuntimeError(message)
    named = re.findall(r"MEM_FRACTION(=[\d.]+)", error.value.fix)
    assert named == ([advised] if advised else [])


def test_a_run_that_has_begun_is_told_what_it_cannot_change(reference: Path):
    with pytest.raises(InputError) as error, explained(reference, tiny.get_config()):
        raise MemoryError
    assert "all but remat in a new --workdir" in error.value.fix


def test_wrapped_disk_error_is_found_and_others_pass():
    config = tiny.get_config()
    with pytest.raises(InputError, match="disk"), explained(Path("run"), config):
        try:
            raise OSError(errno.ENOSPC, "no space")
        except OSError as error:
            raise RuntimeError("while saving") from error
    with pytest.raises(KeyError), explained(Path("run"), config):
        raise KeyError("else")
