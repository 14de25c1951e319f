"""Writing the cache: every scan read, checked and stored once; interrupted work goes on where it stopped."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import errno
import fcntl
import math
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from dsdenseunet import files
from dsdenseunet.data import cache, nifti
from dsdenseunet.data.lits import Case
from dsdenseunet.errors import InputError

_LOCK = ".lock"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_DISK_FAULTS = (*_DISK_FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR)


@dataclasses.dataclass(frozen=True)
class Row:
    """What became of a case.

    Attributes:
        name: case name.
        status: "new", "current" (was there already), "unlabelled" (test scan, passed over), "failed".
        record: what the cache holds; None for the last two.
        error: why it failed.
    """

    name: str
    status: str
    record: cache.Record | None = None
    error: str = ""


def prepare(
    cases: Sequence[Case],
    cache_dir: str | os.PathLike[str],
    workers: int = 0,
    num_classes: int = 3,
    verify: bool = False,
    on_row: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Writes each case to the cache, unless what is there is current.

    A case counts once the manifest names it, which it does after its arrays are whole on disk. A case
    that cannot be read fails alone: the others are prepared all the same. Cases that the cache holds
    from other data sets stay.

    Args:
        cases: scans to prepare.
        cache_dir: made where it does not exist.
        workers: processes that read at once; 0 reads in this one. Each takes up to four bytes a voxel.
        num_classes: labels run from 0 to `num_classes` - 1.
        verify: compares every byte of what is there with its hash; what differs is written anew.
        on_row: called with each row as it is ready.

    Returns:
        A row a case, in the order of `cases`.

    Raises:
        InputError: the folder cannot be written, the disk is full, or another process prepares into it.
    """
    root = Path(cache_dir)
    with _writable(root), _locked(root):
        for stale in root.glob("**/.partial-*"):  # Of a run that was killed while it wrote.
            stale.unlink()
        records = cache.read_manifest(root)
        rows: dict[str, Row] = {}

        def add(row: Row) -> None:
            rows[row.name] = row
            if row.record and row.record != records.get(row.name):
                records[row.name] = row.record
                cache.write_manifest(root, records)
            on_row(row)

        labelled = [case for case in cases if case.labels or not case.test]
        for case in cases:
            if case not in labelled:
                add(Row(case.name, "unlabelled"))
        for row in _rows(labelled, root, records, workers, (num_classes, verify)):
            add(row)
    return [rows[case.name] for case in cases]


def table(rows: Sequence[Row]) -> str:
    """What was found, a line a case and one of totals: millilitres are voxels times their volume."""
    lines: list[tuple[str, ...]] = [
        ("case", "status", "shape (D, H, W)", "spacing (mm)", "liver (mL)", "tumour (mL)")
    ]
    for row in rows:
        if row.record is None:
            lines.append((row.name, row.status, "", "", "", ""))
            continue
        voxel_ml = math.prod(row.record.spacing_mm) / 1000
        counts = row.record.label_counts
        # Tumours are inside the liver: class 2 counts as liver too.
        volumes = (sum(counts[1:]) * voxel_ml, sum(counts[2:]) * voxel_ml)
        shape = " x ".join(map(str, row.record.shape))
        spacing = " x ".join(f"{side:.2f}" for side in row.record.spacing_mm)
        lines.append((row.name, row.status, shape, spacing, *(f"{volume:.1f}" for volume in volumes)))
    widths = [max(map(len, column)) for column in zip(*lines)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    statuses = [row.status for row in rows]
    text.append(", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses)))
    return "\n".join(text)


def _rows(
    cases: Sequence[Case],
    root: Path,
    records: dict[str, cache.Record],
    workers: int,
    options: tuple[int, bool],
) -> Iterator[Row]:
    jobs = [(case, root, records.get(case.name), *options) for case in cases]
    if workers <= 0:
        yield from (_prepare_case(*job) for job in jobs)
        return
    # A forked child of a process that runs threads can hang: start the workers anew.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:
        futures = {pool.submit(_prepare_case, *job): job[0] for job in jobs}
        try:
            for future in concurrent.futures.as_completed(futures):
                try:
                    yield future.result()
                except concurrent.futures.BrokenExecutor as error:
                    unfinished = [case.name for future, case in futures.items() if future.exception()]
                    raise InputError(
                        root,
                        found=f"a worker process died while these were open: {', '.join(unfinished)}",
                        expected="workers that live; most often memory ran out",
                        fix="run again with fewer --workers; what is done is kept",
                    ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare_case(case: Case, root: Path, known: cache.Record | None, num_classes: int, verify: bool) -> Row:
    try:
        if known and (current := _still_current(case, root, known, num_classes, verify)):
            return Row(case.name, "current", current)
        return Row(case.name, "new", _write_case(case, root, num_classes))
    except InputError as error:
        return Row(case.name, "failed", error=str(error))
    except OSError as error:
        if error.errno in _DISK_FAULTS:
            raise
        return Row(case.name, "failed", error=f"{type(error).__name__}: {error}")
    except Exception as error:
        raise RuntimeError(f"case {case.name}: {type(error).__name__}: {error}") from error


def _still_current(
    case: Case, root: Path, known: cache.Record, num_classes: int, verify: bool
) -> cache.Record | None:
    """The record, its sources' times renewed, if the arrays are there and come from these very sources."""
    if case.labels is None or len(known.label_counts) != num_classes:
        return None
    try:
        here = cache.Cache(root, {case.name: known})
        here.case(case.name)
        if verify:
            here.verify(case.name)
    except InputError:
        return None
    image, labels = _renewed(known.image, case.image), _renewed(known.labels, case.labels)
    return dataclasses.replace(known, image=image, labels=labels) if image and labels else None


def _renewed(source: cache.Source, path: Path) -> cache.Source | None:
    here = dataclasses.replace(source, path=str(path.absolute()))
    if cache.untouched(here):
        return here
    if not path.is_file() or path.stat().st_size != source.size or files.sha256(path) != source.sha256:
        return None
    return dataclasses.replace(here, mtime_ns=path.stat().st_mtime_ns)


def _write_case(case: Case, root: Path, num_classes: int) -> cache.Record:
    if case.labels is None:
        raise InputError(
            case.image,
            found="a scan without labels",
            expected=f"its label file (segmentation-N for {case.name}, or its namesake in labelsTr)",
            fix="add the label file, or leave the scan out",
        )
    if not cache.is_folder_name(case.name):
        raise InputError(
            case.image,
            found=f"a scan named {case.name!r}",
            expected="a name that a folder of the cache can have",
            fix="rename the scan and its labels",
        )
    image_source, labels_source = _source(case.image), _source(case.labels)
    image = nifti.read_image(case.image)
    labels = nifti.read_labels(case.labels, num_classes, like=image.grid).array_DHW
    counts_DC = np.stack([np.bincount(plane.ravel(), minlength=num_classes) for plane in labels])
    for source in (image_source, labels_source):
        if not cache.untouched(source):
            raise InputError(
                source.path, found="changed while it was read", expected="a file at rest", fix="run again"
            )
    arrays = {"image": image.array_DHW, "labels": labels, "counts": counts_DC.astype(np.int64)}
    hashes = {}
    for name, array in arrays.items():
        path = cache.array_path(root, case.name, name)
        with files.atomic_path(path) as temporary:
            with temporary.open("wb") as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)
            hashes[name] = files.sha256(temporary)
    depth, height, width = labels.shape
    return cache.Record(
        case.name,
        image_source,
        labels_source,
        (depth, height, width),
        image.spacing_mm,
        tuple(int(count) for count in counts_DC.sum(axis=0)),
        hashes,
    )


def _source(path: Path) -> cache.Source:
    if not path.is_file():
        raise InputError(path, found="no such file", expected="a NIfTI file", fix="check the path")
    stat = path.stat()
    return cache.Source(str(path.absolute()), stat.st_size, stat.st_mtime_ns, files.sha256(path))


@contextlib.contextmanager
def _writable(root: Path) -> Iterator[None]:
    """Turns what the disk refuses into an `InputError`."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            fix = "free some space (a LiTS case takes about 0.4 GB) and run again; what is done is kept"
        elif error.errno in _DISK_FAULTS:
            fix = "choose a folder that you may write to"
        else:
            raise
        raise InputError(
            root, found=str(error), expected="a folder to write the cache to", fix=fix
        ) from error


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    with (root / _LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise InputError(
                root,
                found=f"another process prepares into it (pid {lock.read().strip() or 'unknown'})",
                expected="one at a time",
                fix="wait for it to end, or choose another folder",
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
