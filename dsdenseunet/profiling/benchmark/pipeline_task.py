"""What is timed of the input pipeline: the next batch of a stream over phantoms of a scan's size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dsdenseunet.data.cache import Cache
from dsdenseunet.data.lits import find_cases
from dsdenseunet.data.phantom import write_phantoms
from dsdenseunet.data.pipeline import make_training_iterator
from dsdenseunet.data.preparation import prepare

CASES, SIZE = 3, (64, 512, 512)


def write_cache(folder: Path) -> Path:
    """Writes phantoms and prepares them; returns the cache's folder."""
    write_phantoms(folder / "phantoms", CASES, seed=0, size=SIZE)
    prepare(find_cases(folder / "phantoms"), folder / "cache")
    return folder / "cache"


class Pipeline:
    """Reads as training does, ahead by threads: one call is one batch.

    Args:
        config: a resolved config as plain values.
        cache: folder that `write_cache` returned.
    """

    def __init__(self, config: Mapping[str, Any], cache: Path):
        opened = Cache.open(cache)
        fields = ("patch_size", "batch_size", "hu_window", "centre_share", "scale_range", "scale_axes")
        more = ("mirror_probability", "threads", "prefetch", "workers")
        values = {name: config["data"][name] for name in (*fields, *more)}
        self._batches = make_training_iterator(opened, opened.names, seed=0, **values)

    def run(self) -> None:
        """One batch."""
        next(self._batches)

    def outputs(self) -> dict[str, np.ndarray]:
        """The next batch."""
        return next(self._batches)
