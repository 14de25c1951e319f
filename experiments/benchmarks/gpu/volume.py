"""A whole scan through the sliding window, as `experiments.predict` segments it, from array to labels."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dsdenseunet.compilation import use_compilation_cache
from dsdenseunet.inference.predict import Predictor
from dsdenseunet.inference.sliding_window import Tiling
from dsdenseunet.models import registry
from experiments.benchmarks.gpu.setting import Setting, Size, device_peak_gib
from experiments.benchmarks.measuring import jax_tasks
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
            hu_window=tuple(data["hu_window"]),
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


def volume(setting: Setting) -> Iterator[dict[str, Any]]:
    """Seconds a scan of the DS network by patches at once, from array to labels: no files."""
    config, amounts = setting.variant(True), setting.amounts
    tiling = Tiling.of(
        amounts.volume,
        config["data"]["patch_size"],
        overlap=config["inference"]["overlap"],
        sigma_scale=config["inference"]["sigma_scale"],
    )
    with contextlib.ExitStack() as stack:
        weights = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=setting.folder)))
        jax_tasks.write_weights(config["model"], weights)
        workers = {}
        for batch_size in amounts.volume_batches:
            name = f"{batch_size} at once"
            workers[name] = stack.enter_context(Worker(name))
            task = functools.partial(Volume, config, weights, amounts.volume, batch_size)
            workers[name].load(task, limit_s=setting.left_s())
        measured = alternate(workers, setting.rounds)
        peaks = {name: device_peak_gib(worker.outputs(), worker) for name, worker in workers.items()}
    best = measured.best(list(workers))
    seconds = measured.seconds(best)
    size = " x ".join(map(str, amounts.volume))
    setting.say(f"volume {size}, {tiling.patches} patches: {seconds} s, {best}")
    yield {
        **{"part": "volume", "case": f"{size}, {best}", "patches": tiling.patches},
        **{"overlap": config["inference"]["overlap"], "scan_s": seconds.as_json()},
        **{"seconds": measured.as_json(), "peak_gib": peaks},
    }
