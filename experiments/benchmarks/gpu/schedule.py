"""The paper's schedule: steps on batches from the input pipeline, as training does them."""

from __future__ import annotations

import functools
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from dsdenseunet import parallel
from dsdenseunet.compilation import use_compilation_cache
from dsdenseunet.training.device_input import Augment, DeviceInput
from dsdenseunet.training.logs import scalars
from dsdenseunet.training.step import train_step
from experiments.benchmarks.gpu.setting import Setting, device_peak_gib
from experiments.benchmarks.measuring import jax_tasks, pipeline_task
from experiments.benchmarks.measuring.pairs import Spread
from experiments.benchmarks.measuring.worker import Worker

_DATA = ("augment_on_device", "workers", "threads", "prefetch")
# Parts of the whole schedule that must be left over when it is begun.
_MARGIN = 1.15


class Schedule:
    """Blocks of training steps; of each step the metrics are read while the one after runs.

    Args:
        config: a resolved config as plain values.
        weights: folder that `jax_tasks.write_weights` wrote to.
        cache: folder that `pipeline_task.write_cache` returned.
        steps: of one block.
    """

    def __init__(self, config: Mapping[str, Any], weights: Path, cache: Path, steps: int):
        use_compilation_cache()
        resolved = ConfigDict(config)
        mesh = parallel.data_mesh()
        first = jax_tasks.first_state(resolved, jax_tasks.read_variables(weights))
        self._state = parallel.place_state(mesh, first)
        self._step = parallel.compile_step(train_step, mesh)
        data = resolved.data
        stream = pipeline_task.open_stream(config, cache, data.augment_on_device)
        augment = Augment(tuple(data.patch_size), tuple(data.hu_window)) if data.augment_on_device else None
        self._batches = DeviceInput(stream, mesh, augment)
        self._steps, self._waited_s = steps, 0.0
        self._loss = np.nan

    def run(self) -> None:
        """One block."""
        pending = None
        for _ in range(self._steps):
            _, arrays = self._batches.take()
            self._state, metrics = self._step(self._state, arrays)
            start = time.perf_counter()
            self._batches.send_next()
            self._waited_s += time.perf_counter() - start
            if pending is not None:
                self._loss = scalars(pending)["loss"]
            pending = metrics
        jax.block_until_ready(self._state)

    def outputs(self) -> dict[str, np.ndarray]:
        """Seconds that the host took for batches, so far; the last loss read; `device_peak_gib`."""
        values = {"waited_s": np.asarray(self._waited_s), "loss": np.asarray(self._loss)}
        return {**values, **jax_tasks.device_peak()}


def schedule(setting: Setting) -> Iterator[dict[str, Any]]:
    """Seconds a step over blocks of steps; the schedule's, extrapolated and, if there is time, measured.

    Validation and checkpoints are not in it. `host_share_for_data` is the host's time to read and send
    batches, while the device has a step to do, as a share of all.
    """
    training = setting.config["training"]
    total = (training["phase1_epochs"] + training["phase2_epochs"]) * training["steps_per_epoch"]
    block = setting.amounts.block_steps
    config = _for_all_cores(setting.variant(True))
    with tempfile.TemporaryDirectory(dir=setting.folder) as temporary, Worker("schedule") as worker:
        folder = Path(temporary)
        jax_tasks.write_weights(config["model"], folder)
        cache = pipeline_task.write_cache(folder, setting.amounts.phantoms)
        make_task = functools.partial(Schedule, config, folder, cache, block)
        start = time.perf_counter()
        # The first block compiles.
        worker.load(make_task, limit_s=setting.left_s())
        found: dict[str, Any] = {
            **{"part": "schedule", "case": f"DS, {total:,} steps", "steps": total, "block_steps": block},
            **{"data": {name: config["data"][name] for name in _DATA}},
            "seconds_until_ready": round(time.perf_counter() - start, 2),
        }
        waited = float(worker.outputs()["waited_s"])
        steady = [worker.sample().wall_s for _ in range(setting.rounds)]
        outputs = worker.outputs()
        seconds = Spread.of([sample / block for sample in steady])
        found |= {
            "step_s": seconds.as_json(),
            "extrapolated_s": round(seconds.median * total, 1),
            "host_share_for_data": round((float(outputs["waited_s"]) - waited) / sum(steady), 4),
            "whole_s": None,
            "peak_gib": {"ours": device_peak_gib(outputs, worker)},
        }
        setting.say(f"schedule: {seconds} s a step, {total:,} steps would take {found['extrapolated_s']} s")
        yield found
        blocks = -(-total // block)
        if setting.whole_schedule and seconds.high * blocks * block * _MARGIN < setting.left_s():
            whole = worker.sample(blocks).wall_s * blocks
            loss = float(worker.outputs()["loss"])
            setting.say(f"schedule: {blocks * block:,} steps took {whole:.1f} s")
            yield {
                **{"part": "schedule", "case": f"DS, {total:,} steps, all of them run"},
                **{"steps": blocks * block, "whole_s": round(whole, 3)},
                "last_loss": loss if np.isfinite(loss) else None,
            }


def _for_all_cores(config: dict[str, Any]) -> dict[str, Any]:
    """Worker processes for the input pipeline on machines with many cores, as a GPU asks for more batches."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores < 8:
        return config
    return {**config, "data": {**config["data"], "workers": cores // 2, "threads": 4, "prefetch": 8}}
