"""The training step of a config under the profiler, on batches of its cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from dsdenseunet.data.cache import Cache
from dsdenseunet.memory.description import describe
from dsdenseunet.memory.planner import hlo
from dsdenseunet.profiling import floor, trace
from dsdenseunet.profiling.profile import Operation, Profile
from dsdenseunet.runtime import parallel
from dsdenseunet.runtime.compilation import use_compilation_cache
from dsdenseunet.tasks.task import Task
from dsdenseunet.training import cascade, phases, tracing
from dsdenseunet.training.loop import Phase, batches_of
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.settings import check_config
from dsdenseunet.training.state import create_state
from dsdenseunet.training.step import train_step

# Steps before those that are traced: the first ones fill caches and the input's buffers.
_WARM_UP = 2


def profile(config: ConfigDict, folder: Path, steps: int, say: Callable[[str], None] = print) -> Profile:
    """Traces some steps of the first phase from random weights; nothing of a run is written.

    Args:
        config: every field of configs/base.py.
        folder: for the trace, which XProf and TensorBoard's profile plug-in open.
        steps: how many are traced.
        say: prints a line.

    Raises:
        InputError: config or cache cannot be used.
    """
    check_config(config)
    name = phases.selected(config)[0]
    own = phases.config_of(config, name)
    cache = Cache.open(own.data.cache)
    cache.check_task(Task.of(own.task))
    mesh = parallel.data_mesh()
    parallel.check_batch_size(own.data.batch_size, own.training.accumulate, mesh)
    use_compilation_cache()
    batches = batches_of(Phase(name, own, folder, cache, *cascade.split(own, cache)), mesh)
    state = parallel.place_state(mesh, create_state(build_recipe(own, name), own.seed))
    try:
        say("compiling the training step")
        _, arrays = batches.take()
        jitted: Any = parallel.compile_step(train_step, mesh)
        step = jitted.lower(state, arrays).compile()
        for _ in range(_WARM_UP):
            state, metrics = step(state, arrays)
            _, arrays = batches.take()
        jax.block_until_ready(metrics)
        # As the loop of training does: a step is dispatched, then the next batch sent, then the step read.
        with jax.profiler.trace(str(folder), profiler_options=tracing.options()):
            for number in range(steps):
                with jax.profiler.StepTraceAnnotation(tracing.STEP, step_num=number):
                    with jax.profiler.TraceAnnotation(tracing.DISPATCH):
                        state, metrics = step(state, arrays)
                    with jax.profiler.TraceAnnotation(tracing.INPUT):
                        _, arrays = batches.take()
                    with jax.profiler.TraceAnnotation(tracing.RESULT):
                        jax.block_until_ready(metrics)
    finally:
        batches.close()
    traced = trace.read(folder, "jit_train_step")
    known, unknown = hlo.instructions(step.as_text()), hlo.Instruction("", 0, (), ("",))
    operations = [
        Operation(name, *hlo.stage_of(one.scope()), seconds, traced.runs[name] * one.bytes)
        for name, seconds in traced.run_s.items()
        if (one := known.get(name, unknown))
    ]
    # A training step computes each product three times: forward, and for the gradients of both its factors.
    macs = describe(own.model, own.data.patch_size).totals()["macs"]
    arithmetic = 3 * 2 * macs * own.data.batch_size / parallel.device_count()
    return Profile(traced, operations, arithmetic, floor.measured(own.model.dtype))
