"""Writing the cache: every scan is read, checked and stored once; interrupted work is resumed."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import errno
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.lock import locked
from dsdenseunet.data import cache, manifest, prepared_case
from dsdenseunet.data.scans import channel_files
from dsdenseunet.data.scans.layouts import Case, natural_key
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.task import Task

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
    with _writable(root), locked(root, "prepares"):
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
        if known and (current := prepared_case.still_current(case, root, known, task, verify)):
            return Row(case.name, "current", current)
        return Row(case.name, "new", prepared_case.write(case, root, task))
    except InputError as error:
        return Row(case.name, "failed", error=str(error))
    except Exception as error:  # whatever is wrong with one case must not end the others
        if isinstance(error, OSError) and error.errno in _DISK_FAULTS:
            raise
        return Row(case.name, "failed", error=f"{type(error).__name__}: {error}")


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
