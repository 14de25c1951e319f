"""The GPU kernels pass Triton's lowering and the real compiler; needs JAX's CUDA plugin but no GPU."""

import os
import subprocess
import sys

import pytest

from dsdenseunet.memory.planner.compiler import gpu_compiler_environment, has_gpu_compiler
from tests.documents import ROOT


@pytest.mark.skipif(not has_gpu_compiler(), reason="without JAX's CUDA plugin (extras cuda12, cuda13)")
@pytest.mark.parametrize("capability", ["8 0", "9 0"])
def test_kernels_compile_for_a_card_that_is_not_here(capability):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **gpu_compiler_environment()}
    done = subprocess.run(
        [sys.executable, ROOT / "tests/ops/compile_depthwise.py", *capability.split()],
        **{"env": environment, "text": True, "capture_output": True, "check": False, "timeout": 600},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("compiled") == 6
