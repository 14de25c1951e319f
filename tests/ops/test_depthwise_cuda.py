"""The GPU kernels pass Triton's lowering and the real compiler; needs JAX's CUDA plugin but no GPU."""

import importlib.util
import os
import subprocess
import sys

import pytest

from tests.documents import ROOT

PLUGIN = any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))


@pytest.mark.skipif(not PLUGIN, reason="without JAX's CUDA plugin (extras cuda12, cuda13)")
@pytest.mark.parametrize("capability", ["8 0", "9 0"])
def test_kernels_compile_for_a_card_that_is_not_here(capability):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
        "XLA_FLAGS": "--xla_gpu_autotune_level=0",
    }
    done = subprocess.run(
        [sys.executable, ROOT / "tests/ops/compile_depthwise.py", *capability.split()],
        **{"env": environment, "text": True, "capture_output": True, "check": False, "timeout": 600},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("compiled") == 6
