import os
import subprocess
import sys

import pytest

from dsdenseunet.memory.planner.compiler import gpu_compiler_environment, has_gpu_compiler
from experiments.benchmarks.gpu.determinism import FLAG, cost
from tests.documents import ROOT
from tests.experiments.benchmarks.measuring import tasks

# Prints a digest of what the compiler makes for an H200 of a scatter, which adds in any order unless it is
# forbidden, and of the whole network's training step.
COMPILE = """
import hashlib, re
import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding
from configs.ds_dense_unet_569 import get_config
from dsdenseunet.runtime import parallel
from dsdenseunet.memory.cards import card
from experiments.benchmarks.clusters.collectives import mesh_of_absent_gpus
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.state import abstract_state
from dsdenseunet.training.step import train_step

config = get_config("ds")
mesh = mesh_of_absent_gpus(card("h200").target(), 1)
def on_card(shape, dtype):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=SingleDeviceSharding(mesh.devices.flat[0]))
scatter = jax.jit(lambda x, index, y: x.at[index].add(y))
values, indices = on_card((4096,), jnp.float32), on_card((4096,), jnp.int32)
shape = (1, *config.data.patch_size)
batch = {
    "image": jax.ShapeDtypeStruct((*shape, 1), jnp.float32),
    "labels": jax.ShapeDtypeStruct(shape, jnp.int32),
}
state = abstract_state(build_recipe(config))
for lowered in (
    scatter.lower(values, indices, values),
    parallel.compile_step(train_step, mesh).lower(state, batch),
):
    program = re.sub(r"metadata={[^}]*}", "", lowered.compile().as_text())
    print(hashlib.sha256(program.encode()).hexdigest())
"""


def test_the_flag_reaches_one_side_only_and_bits_are_compared(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    said = []
    result = cost(tasks.Step, 2, said.append)
    assert result["equal_bits"] == {"default": False, "deterministic": True}
    assert len(result["seconds"]["deterministic"]["samples_wall_s"]) == 2
    assert result["ratio"].keys() == {"median", "low", "high"}
    assert "'deterministic': True" in said[0]


@pytest.mark.long
@pytest.mark.skipif(not has_gpu_compiler(), reason="without JAX's CUDA plugin (extras cuda12, cuda13)")
def test_the_flag_leaves_the_compiled_step_as_it_is():
    """What it can cost is only what the libraries' algorithms do, which are chosen on the GPU."""
    programs = []
    for flag in ("", FLAG):
        compiling = gpu_compiler_environment()
        environment = {**os.environ, **compiling, "XLA_FLAGS": f"{compiling['XLA_FLAGS']} {flag}"}
        done = subprocess.run(
            [sys.executable, "-c", COMPILE],
            **{"cwd": ROOT, "env": environment, "text": True, "capture_output": True, "check": False},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        programs.append(done.stdout.split())
    (scatter, step), (other_scatter, same_step) = programs
    assert scatter != other_scatter, "the flag did not reach the compiler"
    assert step == same_step
