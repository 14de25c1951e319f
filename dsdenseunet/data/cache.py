"""The cache: each scan once as memory-mapped arrays, with a manifest that says what it was made from.

    cache/manifest.json      what is in the cache; a case that it does not name does not exist
    cache/NAME/image.npy     int16 or float32 (D, H, W), or (D, H, W, channel), canonical
    cache/NAME/labels.npy    uint8 (D, H, W)
    cache/NAME/counts.npy    int64 (D, classes): voxels of each class in each axial slice

`dsdenseunet.data.preparation` writes it. Arrays are never unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import counted
from dsdenseunet.data.manifest import (
    MANIFEST,
    REPAIR,
    Record,
    array_path,
    read_manifest,
    read_task,
    untouched,
)
from dsdenseunet.data.scans.layouts import natural_key
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.task import Task

_DTYPES: dict[str, np.dtype[Any]] = {"labels": np.dtype(np.uint8), "counts": np.dtype(np.int64)}


@dataclasses.dataclass(frozen=True, eq=False)
class CachedCase:
    """A case's arrays, mapped from disk: nothing is read until it is accessed.

    Attributes:
        name: case name.
        image_DHW: int16 or float32, read-only; (D, H, W, channel) where there are several channels.
        labels_DHW: uint8, read-only.
        slice_counts_DC: int64, voxels of each class in each axial slice.
        spacing_mm: (D, H, W).
        label_counts: voxels of each class.
        statistics: of each channel's values, see `tasks.channel`.
    """

    name: str
    image_DHW: np.ndarray
    labels_DHW: np.ndarray
    slice_counts_DC: np.ndarray
    spacing_mm: tuple[float, float, float]
    label_counts: tuple[int, ...]
    statistics: tuple[tuple[float, ...], ...] = ((),)


@dataclasses.dataclass(frozen=True)
class Cache:
    """A prepared data set on disk. Holds paths and the manifest only: cheap to copy to a worker."""

    root: Path
    records: Mapping[str, Record]
    task: Task

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> Cache:
        """Reads the manifest and checks that every file is there, with the size it must have.

        Raises:
            InputError: no cache, another format, or a file that is missing or truncated.
        """
        cache = cls(Path(root), read_manifest(root), read_task(root) or lits.TASK)
        if not cache.records:
            raise InputError(
                root,
                found="no prepared case" if Path(root).is_dir() else "no such folder",
                expected="a cache",
                fix="run `python -m experiments.prepare --data=DIR --cache=DIR` first",
            )
        for name in cache.names:
            cache.case(name)
        return cache

    @property
    def names(self) -> tuple[str, ...]:
        """Case names in natural order."""
        return tuple(sorted(self.records, key=natural_key))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names, spacing and content of all cases: equal for equal data, wherever it lies."""
        content = [
            (name, self.records[name].spacing_mm, sorted(self.records[name].sha256.items()))
            for name in self.names
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def record(self, name: str) -> Record:
        """What the manifest says of a case.

        Raises:
            InputError: no such case.
        """
        if name not in self.records:
            some = ", ".join(self.names[:5])
            raise InputError(
                self.root / MANIFEST,
                found=f"no case {name!r}",
                expected=f"one of {len(self.names)} ({some}{', ...' if len(self.names) > 5 else ''})",
                fix="check the name, or prepare the data set that has it",
            )
        return self.records[name]

    def case(self, name: str) -> CachedCase:
        """Maps a case's arrays.

        Raises:
            InputError: no such case, or a file that is missing, truncated or not what the manifest says.
        """
        record = self.record(name)
        dtypes = {**_DTYPES, "image": np.dtype(record.dtype)}
        arrays = {
            array: _map(array_path(self.root, name, array), shape, dtypes[array])
            for array, shape in record.array_shapes().items()
        }
        return CachedCase(
            name,
            arrays["image"],
            arrays["labels"],
            np.array(arrays["counts"]),
            record.spacing_mm,
            record.label_counts,
            record.statistics,
        )

    def check_task(self, task: Task) -> None:
        """Refuses to use the cache for a task that reads images or labels otherwise.

        Raises:
            InputError: another task's cache, both named; or a case that was prepared with other classes.
        """
        if not self.task.reads_as(task):
            raise InputError(
                self.root,
                found=f"a cache of {self.task.in_words()}",
                expected=f"one of {task.in_words()}",
                fix="prepare the data for this task into a new folder: python -m experiments.prepare",
            )
        for name in self.names:
            found, expected = len(self.record(name).label_counts), len(task.classes)
            if found != expected:
                raise InputError(
                    self.root,
                    found=f"{name} was prepared with {found} classes",
                    expected=f"{expected}, as config.task has",
                    fix="prepare the data set again into a new folder: python -m experiments.prepare",
                )

    def verify(self, name: str) -> None:
        """Compares every byte of a case with the hash in the manifest.

        Raises:
            InputError: a file that has changed since it was written.
        """
        for array, expected in self.record(name).sha256.items():
            path = array_path(self.root, name, array)
            found = files.sha256(path)
            if found != expected:
                raise InputError(path, found=f"SHA-256 {found}", expected=expected, fix=REPAIR)

    def check_current(self, names: Sequence[str]) -> None:
        """Refuses to use cases whose files could not be read again when they had changed.

        Raises:
            InputError: outdated cases among these, all named.
        """
        outdated = [record for record in map(self.record, names) if record.outdated]
        if outdated:
            raise InputError(
                self.root / MANIFEST,
                found=f"{counted(len(outdated), 'outdated case')} among those to use: "
                + "; ".join(f"{record.name} ({record.outdated})" for record in outdated),
                expected="cases as their files are now",
                fix="repair their files and run `python -m experiments.prepare` again, or leave these cases "
                "out: with its --prune, or by naming the others in --config.data.explicit",
            )

    def changed_sources(self, names: Sequence[str] | None = None) -> list[Path]:
        """Source files that still exist but no longer have the size and time they were prepared with."""
        wanted = self.names if names is None else names
        sources = [source for name in wanted for source in self.records[name].sources]
        return [
            Path(source.path) for source in sources if Path(source.path).exists() and not untouched(source)
        ]


# NumPy parses a file's header with `ast`, whose depth count CPython shares between threads (cpython #106905).
_PARSING = threading.Lock()


def _map(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    try:
        with _PARSING:
            array = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise InputError(path, found="no such file", expected="an array of the cache", fix=REPAIR) from None
    except (ValueError, EOFError, OSError) as error:
        raise InputError(
            path, found=f"damaged or truncated: {error}", expected=f"{dtype} {shape}", fix=REPAIR
        ) from error
    if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
        raise InputError(path, found=f"{array.dtype} {array.shape}", expected=f"{dtype} {shape}", fix=REPAIR)
    if (size := path.stat().st_size) != (expected := array.offset + array.nbytes):
        raise InputError(path, found=f"{size} bytes", expected=f"{expected}", fix=REPAIR)
    return array
