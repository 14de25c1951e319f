"""The paper's schedule: steps on batches from the input pipeline, as training does them."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from dsdenseunet.runtime import parallel
from dsdenseunet.runtime.compilation import use_compilation_cache
from dsdenseunet.training.device_input import Augment, DeviceInput
from dsdenseunet.training.step import train_step
from experiments.benchmarks.gpu import weights
from experiments.benchmarks.gpu.setting import Program, Setting, device_peak_gib
from experiments.benchmarks.measuring import jax_tasks, pipeline_task, roofline
from experiments.benchmarks.measuring.pairs import Spread
from experiments.benchmarks.measuring.worker import Worker

_DATA = ("augment_on_device", "workers", "threads", "prefetch")
_INPUT = "phantoms and their cache"
# Parts of the whole schedule that must be left over when it is begun.
_MARGIN = 1.15


class Schedule:
    """Blocks of training steps; the metrics of each step are read while the next one runs.

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
        augment = Augment(tuple(data.patch_size)) if data.augment_on_device else None
        self._batches = DeviceInput(stream, mesh, augment)
        self._steps, self._waited_s = steps, 0.0
        self._loss = np.nan

    def run(self) -> None:
        """One block."""
        pending = None
        for _ in range(self._steps):
            start = time.perf_counter()
            _, arrays = self._batches.take()
            self._waited_s += time.perf_counter() - start
            self._state, metrics = self._step(self._state, arrays)
            start = time.perf_counter()
            self._batches.send_next()
            self._waited_s += time.perf_counter() - start
            if pending is not None:
                self._loss = float(pending["loss"])
            pending = metrics
        jax.block_until_ready(self._state)

    def outputs(self) -> dict[str, np.ndarray]:
        """Seconds that the host has spent on batches so far; the last loss read; `device_peak_gib`."""
        values = {"waited_s": np.asarray(self._waited_s), "loss": np.asarray(self._loss)}
        return {**values, **jax_tasks.device_peak()}


class Input:
    """Writes the phantoms and their cache when it is made."""

    def __init__(self, folder: Path, size: tuple[int, int, int]):
        pipeline_task.write_cache(folder, size)

    def run(self) -> None:
        """Nothing is left to do."""

    def outputs(self) -> dict[str, np.ndarray]:
        """Nothing to compare."""
        return {}


def _config(setting: Setting) -> dict[str, Any]:
    return _for_all_cores(setting.with_model(separable=True, dtype=setting.amounts.dtypes[0]))


def _make_task(setting: Setting) -> Callable[[], Any]:
    folder, steps = setting.folder / "input", setting.amounts.block_steps
    return functools.partial(Schedule, _config(setting), setting.weights(True), folder / "cache", steps)


def programs(setting: Setting) -> list[Program]:
    """The scans to read; the step is the one that the networks' part has."""
    task = functools.partial(Input, setting.folder / "input", setting.amounts.phantoms)
    return [Program(_INPUT, task, {"JAX_PLATFORMS": "cpu"})]


def measure(setting: Setting) -> Iterator[dict[str, Any]]:
    """Seconds of the first steps and of the whole schedule as they make it; in the second round all of it.

    Validation and checkpoints are not in it. `host_share_for_data` is the host's time to read and send
    batches as a share of all; `stall_share` the time of the blocks beyond the fastest one's.
    """
    setting.wait_for(_INPUT)
    weights.ensure(setting)
    if not (setting.folder / "input/cache").exists():
        Input(setting.folder / "input", setting.amounts.phantoms)
    training, config = setting.config["training"], _config(setting)
    phases = setting.config["phases"]
    total = sum(phases[name]["epochs"] for name in phases["order"]) * training["steps_per_epoch"]
    block, blocks = setting.amounts.block_steps, setting.amounts.blocks
    known = setting.known("schedule")
    first, whole = f"{block * blocks:,} steps of {total:,}", f"{total:,} steps, all of them run"
    with Worker("schedule") as worker:
        start = time.perf_counter()
        worker.load(_make_task(setting), limit_s=setting.left_s())
        ready = time.perf_counter() - start
        if first not in known:
            yield _first_steps(setting, config, worker, first, total, ready)
        if setting.round == 2 and whole not in known:
            yield from _all_steps(setting, config, worker, whole, total, ready)


def _first_steps(
    setting: Setting, config: Mapping[str, Any], worker: Worker, case: str, total: int, ready: float
) -> dict[str, Any]:
    block, blocks = setting.amounts.block_steps, setting.amounts.blocks
    waited = float(worker.outputs()["waited_s"])
    with setting.quiet():
        seconds = [worker.sample().wall_s for _ in range(blocks)]
    outputs = worker.outputs()
    step_s = sum(seconds) / (block * blocks)
    whole_s = ready + step_s * total
    setting.say(f"schedule: {1e3 * step_s:.3g} ms a step, {total:,} steps would take {whole_s:.0f} s")
    return {
        **{"case": case, "dtype": config["model"]["dtype"], "batch": config["data"]["batch_size"]},
        **{"steps": total, "block_steps": block, "data": {name: config["data"][name] for name in _DATA}},
        "step_s": Spread.of([one / block for one in seconds]).as_json(),
        "seconds_until_ready": round(ready, 2),
        "whole_s": round(whole_s, 1),
        "host_share_for_data": round((float(outputs["waited_s"]) - waited) / sum(seconds), 4),
        "stall_share": round(1 - min(seconds) * blocks / sum(seconds), 4),
        "peak_gib": {"ours": device_peak_gib(outputs, worker)},
        **{"counted": roofline.counts(config, "step"), "times": total, "took_s": whole_s},
    }


def _all_steps(
    setting: Setting, config: Mapping[str, Any], worker: Worker, case: str, total: int, ready: float
) -> Iterator[dict[str, Any]]:
    block = setting.amounts.block_steps
    blocks = -(-total // block)
    with setting.quiet():
        once = worker.sample().wall_s
        if once * blocks * _MARGIN > setting.left_s():
            return
        seconds = worker.sample(blocks).wall_s * blocks
    loss = float(worker.outputs()["loss"])
    setting.say(f"schedule: {blocks * block:,} steps took {seconds:.1f} s")
    yield {
        **{"case": case, "dtype": config["model"]["dtype"], "steps": blocks * block},
        **{"seconds_until_ready": round(ready, 2), "whole_s": round(ready + seconds, 1)},
        "last_loss": loss if np.isfinite(loss) else None,
        **{"counted": roofline.counts(config, "step"), "times": blocks * block, "took_s": ready + seconds},
    }


def _for_all_cores(config: dict[str, Any]) -> dict[str, Any]:
    """Worker processes for the input pipeline on machines with many cores, as a GPU asks for more batches."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores < 8:
        return config
    return {**config, "data": {**config["data"], "workers": cores // 2, "threads": 4, "prefetch": 8}}
