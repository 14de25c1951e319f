"""The training step on the card that is here, in a process of its own: its peak of memory and its time.

python -m dsdenseunet.memory.planner.measured REQUEST.json ANSWER.json
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dsdenseunet.core import files
from dsdenseunet.runtime import out_of_memory, parallel
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.settings import config_from_json
from dsdenseunet.training.state import create_state
from dsdenseunet.training.step import train_step


def measure(request: Mapping[str, Any]) -> dict[str, Any]:
    """Runs a few steps on random data.

    Args:
        request: `config` as `settings.config_to_json` gives it; `steps`: how many.

    Returns:
        `peak` and `limit`, bytes by the allocator (None where it does not say), `seconds_per_step` and
        `device`; only `out_of_memory`, what the device said, where it did not fit.
    """
    config = config_from_json(request["config"])
    mesh = parallel.data_mesh(jax.local_devices()[:1])
    shape = (config.data.batch_size, *config.data.patch_size)
    numbers = np.random.default_rng(0)
    host = {
        "image": numbers.uniform(-1, 1, (*shape, config.model.in_channels)).astype(np.float32),
        "labels": numbers.integers(0, config.model.num_classes, shape).astype(np.int32),
    }
    seconds = []
    try:
        state = parallel.place_state(mesh, create_state(build_recipe(config), 0))
        step = parallel.compile_step(train_step, mesh)
        # As in training: the next batch is on its way while a step runs.
        batch = parallel.place_batch(mesh, host)
        for _ in range(request["steps"]):
            start = time.perf_counter()
            state, metrics = step(state, batch)
            batch = parallel.place_batch(mesh, host)
            jax.block_until_ready(metrics)
            seconds.append(time.perf_counter() - start)
    except jax.errors.JaxRuntimeError as error:
        if not out_of_memory.is_cause(error):
            raise
        return {"out_of_memory": out_of_memory.first_line(error)}
    device = jax.local_devices()[0]
    counted = device.memory_stats() or {}
    # The first one compiles.
    median = statistics.median(seconds[1:])
    return {
        "peak": counted.get("peak_bytes_in_use"),
        "limit": counted.get("bytes_limit"),
        "seconds_per_step": float(f"{median:.4g}"),
        "device": device.device_kind,
    }


if __name__ == "__main__":
    files.write_json(sys.argv[2], measure(files.read_json(sys.argv[1])))
