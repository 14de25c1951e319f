"""The endless stream of training batches, by Grain."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import grain
import numpy as np
from absl import flags

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.appearance import Appearance
from dsdenseunet.data.augment import Augmentation
from dsdenseunet.data.cache import Cache
from dsdenseunet.data.patches import PatchSampler
from dsdenseunet.data.warp import Warp
from dsdenseunet.tasks.channel import Channel

_SCALE_AXES = ("in_plane", "all")


class BatchIterator(grain.DatasetIterator):
    """Batches number 0, 1, 2, ... of the stream, with a state that is just the next one's number.

    Batch n is the same whatever the number of threads and workers, so a run may go on with others.
    `grain.checkpoint.CheckpointSave` and `CheckpointRestore` take it. Close it when done.
    """

    def __init__(
        self,
        batches: grain.MapDataset,
        case_names: Callable[[int], str],
        threads: int,
        prefetch: int,
        workers: int,
    ):
        super().__init__()
        self._batches = batches
        self._case_names = case_names
        # Threads beyond the buffer could only wait, and Grain warns of them.
        self._read = grain.ReadOptions(num_threads=min(threads, prefetch), prefetch_buffer_size=prefetch)
        self._workers = workers
        self._next = 0
        self._running: grain.DatasetIterator | None = None

    def __next__(self) -> dict[str, np.ndarray]:
        if self._closed:
            raise ValueError("the iterator is closed")
        if self._running is None:
            self._running = self._start()
        try:
            batch = next(self._running)
        except Exception as error:
            # Grain knows only the exit code of a worker that the system has killed.
            error.add_note(f"while reading batch {self._next}: {self._case_names(self._next)}")
            raise
        self._next += 1
        return batch

    def get_state(self) -> dict[str, Any]:
        """`{"next_batch": n}`."""
        return {"next_batch": self._next}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues with batch `state["next_batch"]`."""
        self._stop()
        self._next = int(state["next_batch"])

    def start_prefetch(self) -> None:
        """Starts reading ahead before the first batch is requested."""
        if self._running is None:
            self._running = self._start()
            self._running.start_prefetch()

    def close(self) -> None:
        """Ends threads and workers."""
        self._stop()
        self._closed = True

    def _start(self) -> grain.DatasetIterator:
        stream = self._batches[self._next :].to_iter_dataset(self._read)
        if self._workers:
            if not flags.FLAGS.is_parsed():
                # Grain passes absl's flags on to its workers and fails if no entry point has parsed them.
                flags.FLAGS.mark_as_parsed()
            stream = stream.mp_prefetch(
                grain.MultiprocessingOptions(num_workers=self._workers, per_worker_buffer_size=1)
            )
        return iter(stream)

    def _stop(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None


@dataclasses.dataclass(frozen=True)
class _OwnRows:
    """Batches of an endless stream of patches, of which only some rows are read.

    A patch is the same whatever the number of processes, as its place in the stream is.
    """

    patches: grain.MapDataset
    batch_size: int
    rows: range

    def __len__(self) -> int:
        return len(self.patches) // self.batch_size

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        parts = [self.patches[number * self.batch_size + row] for row in self.rows]
        return {key: np.stack([part[key] for part in parts]) for key in parts[0]}


def make_training_iterator(
    cache: Cache,
    names: Sequence[str],
    *,
    patch_size: Sequence[int],
    batch_size: int,
    channels: Sequence[Channel],
    centre_share: Sequence[float],
    scale_range: Sequence[float],
    scale_axes: str,
    mirror_probability: Sequence[float],
    seed: int,
    augment: Mapping[str, Any] | None = None,
    augment_on_device: bool = False,
    threads: int = 2,
    prefetch: int = 4,
    workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> BatchIterator:
    """Streams random patches; the other arguments are the fields of `config.data`.

    Every case comes up once before any comes up again, in an order drawn anew each time. The global
    batch is the same for any number of processes: each reads its rows of it, process 0 the first ones.

    Args:
        cache: prepared cases.
        names: those to draw from.
        patch_size: (D, H, W).
        batch_size: of all processes together.
        channels: of the images, as the task has them.
        centre_share: share of patches centred on (any voxel, a voxel of class 1, of class 2, ...).
        scale_range: random zoom factor.
        scale_axes: "in_plane" or "all".
        mirror_probability: along (D, H, W).
        seed: of order, places and augmentation.
        augment: `config.augment`, None for nothing of it.
        augment_on_device: leave augmentation and normalisation to the device; what is drawn is the same.
        threads: that read at the same time, in each worker.
        prefetch: batches held ready, in each worker.
        workers: processes that read; 0 reads in threads of this one.
        process_index: which part of the global batch is this process'.
        process_count: number of processes that share a global batch.

    Returns:
        Iterator over {"image": (B, D, H, W, channel) float32, "labels": (B, D, H, W) int32,
        "case": (B,) int32, index into `names`}. With `augment_on_device`, over what `augment.cut_box` or
        `warp.cut_box` and `Appearance.draw` return, stacked, "scaling" and "case".

    Raises:
        InputError: a value out of its range, or a name that is not in the cache.
        RuntimeError: from the iterator, naming the case whose patch could not be read.
    """
    for name in names:
        cache.record(name)
    if not names:
        _refuse("explicit", "no case to train on", "at least one")
    if batch_size < 1 or batch_size % process_count:
        _refuse("batch_size", batch_size, f"a multiple of the {process_count} processes")
    augmentation = _augmentation(scale_range, scale_axes, mirror_probability)
    if len(patch_size) != 3 or min(patch_size) < 1:
        _refuse("patch_size", patch_size, "three sides (D, H, W) of at least 1")
    if min(centre_share) < 0 or abs(sum(centre_share) - 1) > 1e-6:
        _refuse("centre_share", centre_share, "shares of at least 0 that sum to 1")
    d, h, w = patch_size
    sampler = PatchSampler(
        cache,
        tuple(names),
        (d, h, w),
        tuple(channels),
        tuple(centre_share),
        augmentation,
        *extra(augment),
        augment_on_device,
    )
    order = grain.MapDataset.range(len(names)).seed(seed).shuffle().repeat()
    patches = order.random_map(sampler.sample)
    size = batch_size // process_count
    own_rows = range(process_index * size, (process_index + 1) * size)
    batches = grain.MapDataset.source(_OwnRows(patches, batch_size, own_rows))

    def case_names(number: int) -> str:
        return ", ".join(names[order[number * batch_size + row]] for row in own_rows)

    return BatchIterator(batches, case_names, threads, prefetch, workers)


def extra(augment: Mapping[str, Any] | None) -> tuple[Warp | None, Appearance | None]:
    """What `config.augment` asks for; None for each part that is not enabled."""
    if augment is None:
        return None, None
    warp, appearance = Warp.of(augment), Appearance.of(augment)
    return warp if warp else None, appearance if appearance else None


def _augmentation(
    scale_range: Sequence[float], scale_axes: str, mirror_probability: Sequence[float]
) -> Augmentation:
    if len(scale_range) != 2 or not 0 < scale_range[0] <= scale_range[1]:
        _refuse("scale_range", scale_range, "(lower, upper), 0 < lower <= upper")
    if scale_axes not in _SCALE_AXES:
        _refuse("scale_axes", repr(scale_axes), f"one of {_SCALE_AXES}")
    if len(mirror_probability) != 3 or min(mirror_probability) < 0 or max(mirror_probability) > 1:
        _refuse("mirror_probability", mirror_probability, "three numbers (D, H, W) from 0 to 1")
    d, h, w = mirror_probability
    return Augmentation((scale_range[0], scale_range[1]), scale_axes == "all", (d, h, w))


def _refuse(field: str, found: object, expected: str) -> NoReturn:
    raise InputError(f"config.data.{field}", found=f"{found}", expected=expected, fix="set the field anew")
