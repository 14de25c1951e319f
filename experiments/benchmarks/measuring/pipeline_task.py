"""What is timed of the input pipeline: the next batch of a stream over phantoms of a scan's size.

On the host alone, or all the way to the device; augmented on the host or on the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dsdenseunet.data.cache import Cache
from dsdenseunet.data.pipeline import BatchIterator, make_training_iterator
from dsdenseunet.data.preparation import prepare
from dsdenseunet.data.samples.phantom import write_phantoms
from dsdenseunet.data.scans.layouts import find_cases
from dsdenseunet.runtime import parallel
from dsdenseunet.tasks.task import Task
from dsdenseunet.training.device_input import Augment, DeviceInput

CASES, SIZE = 3, (64, 512, 512)


def write_cache(folder: Path, size: tuple[int, int, int] = SIZE) -> Path:
    """Writes phantoms and prepares them; returns the cache's folder."""
    write_phantoms(folder / "phantoms", CASES, seed=0, size=size)
    prepare(find_cases(folder / "phantoms").used, folder / "cache")
    return folder / "cache"


def open_stream(config: Mapping[str, Any], cache: Path, augment_on_device: bool) -> BatchIterator:
    """Training batches of all cases of the cache that `write_cache` returned, as `config.data` has them."""
    opened = Cache.open(cache)
    fields = ("patch_size", "batch_size", "centre_share", "scale_range", "scale_axes")
    more = ("mirror_probability", "threads", "prefetch", "workers")
    values = {name: config["data"][name] for name in (*fields, *more)}
    values |= {"channels": Task.of(config["task"]).channels, "augment_on_device": augment_on_device}
    return make_training_iterator(opened, opened.names, seed=0, **values)


class Reading:
    """The host's part, ahead by threads as in training: one call is one batch.

    Args:
        config: a resolved config as plain values.
        cache: folder that `write_cache` returned.
        augment_on_device: whether the device does the rest.
    """

    def __init__(self, config: Mapping[str, Any], cache: Path, augment_on_device: bool):
        self._batches = open_stream(config, cache, augment_on_device)

    def run(self) -> None:
        """One batch."""
        next(self._batches)

    def outputs(self) -> dict[str, np.ndarray]:
        """What of the next batch goes to the device."""
        return {name: array for name, array in next(self._batches).items() if name != "case"}


class Feeding:
    """From the cache to the device: one call is one batch, ready for a step. Arguments as `Reading`."""

    def __init__(self, config: Mapping[str, Any], cache: Path, augment_on_device: bool):
        data = config["data"]
        augment = Augment(tuple(data["patch_size"])) if augment_on_device else None
        stream = open_stream(config, cache, augment_on_device)
        self._batches = DeviceInput(stream, parallel.data_mesh(), augment)

    def run(self) -> None:
        """One batch."""
        jax.block_until_ready(self._batches.take()[1])

    def outputs(self) -> dict[str, np.ndarray]:
        """The next batch, as a step takes it."""
        return {name: np.asarray(array) for name, array in self._batches.take()[1].items()}
