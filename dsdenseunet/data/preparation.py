"""Writing the cache: every scan is read, checked and stored once; interrupted work is resumed."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import errno
import fcntl
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data import cache, manifest
from dsdenseunet.data.scans import channel_files, nifti
from dsdenseunet.data.scans.grid import axis_codes
from dsdenseunet.data.scans.layouts import Case, natural_key
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.channel import statistics_of
from dsdenseunet.tasks.task import Task

_LOCK = ".lock"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# Faults that stop every case alike; any other fault of the disk concerns the folder of one case.
_DISK_FAULTS = (*_DISK_FULL, errno.EROFS)
_DIED = "its worker process died, most often because memory ran out; run again with --workers=1"
_NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR)


@dataclasses.dataclass(frozen=True)
class Row:
    """The outcome of a case.

    Attributes:
        name: case name.
        status: "new", "current" (was there already), "unlabelled" (test scan, passed over), "failed",
            "other" (in the cache, not in this data set), "pruned" (taken out of the cache), "lost" (its
            entry in the manifest was damaged).
        record: what the cache holds that may be used.
        error: why it failed.
        outdated: whether the cache holds it as its files no longer are.
    """

    name: str
    status: str
    record: manifest.Record | None = None
    error: str = ""
    outdated: bool = False


def prepare(
    cases: Sequence[Case],
    cache_dir: str | os.PathLike[str],
    workers: int = 0,
    task: Task = lits.TASK,
    verify: bool = False,
    prune: bool = False,
    on_row: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Writes each case to the cache, unless what is there is current.

    A case counts once the manifest names it, which it does after its arrays are whole on disk. A case
    that cannot be read fails alone: the others are prepared all the same. What the cache holds of such a
    case is marked as outdated there. Cases that the cache holds from other data sets stay.

    Args:
        cases: scans to prepare.
        cache_dir: made where it does not exist.
        workers: processes that read at once; 0 reads in this one. Each takes up to four bytes a voxel.
        task: what the images and labels are read as.
        verify: compares every byte of what is there with its hash; what differs is written anew.
        prune: takes out of the cache what is outdated and what is not among `cases`.
        on_row: called with each row of `cases` as it is ready.

    Returns:
        One row per case, in the order of `cases`, then those of cases that are only in the cache.

    Raises:
        InputError: the folder is another task's or cannot be written, the disk is full, or another process
            prepares into it.
    """
    root = Path(cache_dir)
    if task.spacing_mm:
        raise InputError(
            "config.task.spacing_mm",
            found=str(task.spacing_mm),
            expected="()",
            fix="leave it empty: this version does not resample",
        )
    with _writable(root), _locked(root):
        for stale in root.glob("**/.partial-*"):  # Of a run that was killed while it wrote.
            stale.unlink()
        records, damaged = manifest.read_entries(root)
        if held_task := manifest.read_task(root):
            cache.Cache(root, records, held_task).check_task(task)
        rows: dict[str, Row] = {}

        def add(row: Row) -> None:
            held = row.record or _outdated(records.get(row.name), row)
            if held and held != records.get(row.name):
                records[row.name] = held
                manifest.write_manifest(root, records, task)
            rows[row.name] = row
            on_row(row)

        labelled = [case for case in cases if case.labels or not case.test]
        for case in cases:
            if case not in labelled:
                add(Row(case.name, "unlabelled"))
        for row in _rows(labelled, root, records, workers, (task, verify)):
            add(row)
        cached = dict(records)
        others = [name for name in cached if name not in rows]
        outdated = {name for name, record in cached.items() if record.outdated}
        pruned = {*others, *outdated} if prune else set()
        if pruned:
            manifest.remove(root, records, task, sorted(pruned))
    found = [dataclasses.replace(rows[case.name], outdated=case.name in outdated - pruned) for case in cases]
    found += [
        Row(name, "other", cached[name], outdated=name in outdated) for name in others if name not in pruned
    ]
    found += [Row(name, "pruned") for name in sorted(pruned, key=natural_key)]
    lost = {name: f"its entry in the manifest was damaged: {fault}" for name, fault in damaged}
    return found + [Row(name, "lost", error=error) for name, error in lost.items() if name not in rows]


def _outdated(held: manifest.Record | None, row: Row) -> manifest.Record | None:
    """What the cache holds of a case whose files could not be read again."""
    if held is None:
        return None
    reason = " ".join(row.error.split()) or "its labels are no longer there"
    return dataclasses.replace(held, outdated=reason)


_Job = tuple[Case, Path, manifest.Record | None, Task, bool]


def _rows(
    cases: Sequence[Case],
    root: Path,
    records: dict[str, manifest.Record],
    workers: int,
    options: tuple[Task, bool],
) -> Iterator[Row]:
    jobs: list[_Job] = [(case, root, records.get(case.name), *options) for case in cases]
    if workers <= 0:
        yield from (_prepare_case(*job) for job in jobs)
        return
    # A forked child of a process that runs threads can hang: start the workers anew.
    context = multiprocessing.get_context("spawn")
    broken = concurrent.futures.BrokenExecutor
    # A worker that dies breaks the pool for all open jobs: each of them is then repeated in a process of its
    # own.
    again: list[_Job] = []
    with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:
        futures = {}
        try:
            for job in jobs:
                try:
                    futures[pool.submit(_prepare_case, *job)] = job
                except broken:
                    again.append(job)
            for future in concurrent.futures.as_completed(futures):
                if isinstance(future.exception(), broken):
                    again.append(futures[future])
                else:
                    yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
    for job in again:
        with concurrent.futures.ProcessPoolExecutor(1, context) as alone:
            try:
                yield alone.submit(_prepare_case, *job).result()
            except broken:
                yield Row(job[0].name, "failed", error=_DIED)


def _prepare_case(case: Case, root: Path, known: manifest.Record | None, task: Task, verify: bool) -> Row:
    try:
        channel_files.require(case.images, task.channels)
        if known and (current := _still_current(case, root, known, task, verify)):
            return Row(case.name, "current", current)
        return Row(case.name, "new", _write_case(case, root, task))
    except InputError as error:
        return Row(case.name, "failed", error=str(error))
    except Exception as error:  # whatever is wrong with one case must not end the others
        if isinstance(error, OSError) and error.errno in _DISK_FAULTS:
            raise
        return Row(case.name, "failed", error=f"{type(error).__name__}: {error}")


def _still_current(
    case: Case, root: Path, known: manifest.Record, task: Task, verify: bool
) -> manifest.Record | None:
    """The record, its sources' times renewed, if the arrays are there and come from these very sources."""
    alike = len(known.label_counts), len(known.statistics)
    if case.labels is None or alike != (len(task.classes), len(task.channels)):
        return None
    try:
        here = cache.Cache(root, {case.name: known}, task)
        here.case(case.name)
        if verify:
            here.verify(case.name)
    except InputError:
        return None
    if len(known.images) != len(case.images):
        return None
    images = [_renewed(*files) for files in zip(known.images, case.images, strict=True)]
    labels = _renewed(known.labels, case.labels)
    grid = nifti.read_grid(case.image)
    as_read = (grid.shape_DHW, grid.spacing_mm, axis_codes(grid))
    # The same bytes can be read otherwise by another version of this program.
    if None in images or labels is None or as_read != (known.shape, known.spacing_mm, known.axes):
        return None
    # Marks about the values are kept, as the values are not read again.
    marks = tuple(dict.fromkeys((*grid.marks, *known.marks)))
    return dataclasses.replace(
        known, images=tuple(filter(None, images)), labels=labels, marks=marks, outdated=""
    )


def _renewed(source: manifest.Source, path: Path) -> manifest.Source | None:
    here = dataclasses.replace(source, path=str(path.absolute()))
    if manifest.untouched(here):
        return here
    if not path.is_file() or path.stat().st_size != source.size or files.sha256(path) != source.sha256:
        return None
    return dataclasses.replace(here, mtime_ns=path.stat().st_mtime_ns)


def _write_case(case: Case, root: Path, task: Task) -> manifest.Record:
    if case.labels is None:
        raise InputError(
            case.image,
            found="a scan without labels",
            expected=f"its label file (segmentation-N for {case.name}, or its namesake in labelsTr)",
            fix="add the label file, or leave the scan out",
        )
    if not manifest.is_folder_name(case.name):
        raise InputError(
            case.image,
            found=f"a scan named {case.name!r}",
            expected="a name that a folder of the cache can have",
            fix="rename the scan and its labels",
        )
    image_sources, labels_source = tuple(map(_source, case.images)), _source(case.labels)
    image = nifti.read_image(case.images, channels=task.channels)
    labels = nifti.read_labels(case.labels, task, like=image.grid, with_ignored=True).array_DHW
    classes = len(task.classes)
    counts_DC = np.stack([np.bincount(plane.ravel(), minlength=classes)[:classes] for plane in labels])
    for source in (*image_sources, labels_source):
        if not manifest.untouched(source):
            raise InputError(
                source.path,
                found="changed while it was read",
                expected="a file that does not change",
                fix="run again",
            )
    arrays = {"image": image.array_DHW, "labels": labels, "counts": counts_DC.astype(np.int64)}
    hashes = {}
    for name, array in arrays.items():
        path = manifest.array_path(root, case.name, name)
        with files.atomic_path(path) as temporary:
            with temporary.open("wb") as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)
            hashes[name] = files.sha256(temporary)
    depth, height, width = labels.shape
    return manifest.Record(
        case.name,
        image_sources,
        labels_source,
        (depth, height, width),
        image.spacing_mm,
        tuple(int(count) for count in counts_DC.sum(axis=0)),
        hashes,
        axis_codes(image.grid),
        image.grid.marks,
        statistics=statistics_of(task.channels, image.array_DHW),
        dtype=image.array_DHW.dtype.name,
    )


def _source(path: Path) -> manifest.Source:
    if not path.is_file():
        found = "a link that leads nowhere" if path.is_symlink() else "no such file"
        raise InputError(path, found=found, expected="a NIfTI file", fix="check the path")
    stat = path.stat()
    return manifest.Source(str(path.absolute()), stat.st_size, stat.st_mtime_ns, files.sha256(path))


@contextlib.contextmanager
def _writable(root: Path) -> Iterator[None]:
    """Turns what the disk refuses into an `InputError`."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            fix = "free some space and run again; what is done is kept"
        elif error.errno in (*_DISK_FAULTS, *_NO_ACCESS):
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
