"""A whole scan through the sliding window, as `experiments.predict` segments it, from array to labels."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dsdenseunet.inference.predict import Predictor
from dsdenseunet.inference.sliding_window import Tiling
from dsdenseunet.models import registry
from dsdenseunet.runtime.compilation import use_compilation_cache
from dsdenseunet.tasks.task import Task
from experiments.benchmarks.gpu import weights
from experiments.benchmarks.gpu.setting import Program, Setting, Size, device_peak_gib, load_all
from experiments.benchmarks.measuring import jax_tasks, roofline
from experiments.benchmarks.measuring.pairs import alternate
from experiments.benchmarks.measuring.worker import Worker


class Volume:
    """One scan of noise: the time does not depend on what is in it.

    Args:
        config: a resolved config as plain values.
        weights: folder that `jax_tasks.write_weights` wrote to.
        size: voxels (D, H, W).
        batch_size: patches through the network at once.
    """

    def __init__(self, config: Mapping[str, Any], weights: Path, size: Size, batch_size: int):
        use_compilation_cache()
        inference, data = config["inference"], config["data"]
        self._predictor = Predictor(
            model=registry.build(config["model"]),
            variables=jax_tasks.read_variables(weights),
            patch_size=tuple(data["patch_size"]),
            task=Task.of(config["task"]),
            overlap=inference["overlap"],
            sigma_scale=inference["sigma_scale"],
            batch_size=batch_size,
        )
        self._image_DHW = np.random.default_rng(0).integers(-1000, 1000, size, np.int16)
        self._labels_DHW = np.zeros(0, np.uint8)

    def run(self) -> None:
        """Segments it."""
        self._labels_DHW = self._predictor.network_labels(self._image_DHW)

    def outputs(self) -> dict[str, np.ndarray]:
        """The labels (D, H, W); `device_peak_gib`."""
        return {"labels": self._labels_DHW, **jax_tasks.device_peak()}


def _name(batch_size: int) -> str:
    return f"{batch_size} at once"


def _config(setting: Setting) -> dict[str, Any]:
    return setting.with_model(separable=True, dtype=setting.amounts.dtypes[0])


def _tasks(setting: Setting) -> dict[str, Callable[[], Any]]:
    amounts = setting.amounts
    ours = functools.partial(Volume, _config(setting), setting.weights(True), amounts.volume)
    return {_name(batch): functools.partial(ours, batch) for batch in amounts.volume_batches}


def programs(setting: Setting) -> list[Program]:
    """A scan by each number of patches at once."""
    return [Program(f"volume, {name}", task) for name, task in _tasks(setting).items()]


def measure(setting: Setting) -> Iterator[dict[str, Any]]:
    """Seconds a scan of the DS network by patches at once, from array to labels: no files."""
    config, size = _config(setting), setting.amounts.volume
    inference = config["inference"]
    tiling = Tiling.of(
        size,
        config["data"]["patch_size"],
        overlap=inference["overlap"],
        sigma_scale=inference["sigma_scale"],
    )
    case = " x ".join(map(str, size))
    if case in setting.known("volume"):
        return
    weights.ensure(setting)
    tasks = _tasks(setting)
    setting.wait_for(*(f"volume, {name}" for name in tasks))
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name)) for name in tasks}
        loaded, failed = load_all(workers, tasks, setting.left_s() - 10)
        if not loaded:
            raise RuntimeError("\n".join(failed.values()))
        with setting.quiet():
            measured = alternate({name: workers[name] for name in loaded}, setting.amounts.rounds)
        peaks = {name: device_peak_gib(workers[name].outputs(), workers[name]) for name in loaded}
    best = measured.best(list(loaded))
    seconds = measured.seconds(best)
    setting.say(f"volume {case}, {tiling.patches} patches: {seconds} s, {best}")
    yield {
        **{"case": case, "dtype": config["model"]["dtype"], "patches": tiling.patches, "best": best},
        **{"overlap": inference["overlap"], "scan_s": seconds.as_json(), "seconds": measured.as_json()},
        **{"seconds_until_ready": loaded, "peak_gib": peaks, "failed": failed},
        **{"counted": roofline.counts({**config, "data": {**config["data"], "batch_size": 1}}, "inference")},
        **{"times": tiling.patches, "took_s": seconds.median},
    }
