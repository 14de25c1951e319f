"""Predicts many scans: finished ones are skipped, stages overlap, and a bad scan ends no other."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dsdenseunet.core import failures
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.failures import Failure
from dsdenseunet.data.scans import channel_files, dicom_seg_writer, nifti
from dsdenseunet.data.scans.probabilities import write_probabilities
from dsdenseunet.inference import colour_tables, network_faults
from dsdenseunet.inference.predict import Segmenter
from dsdenseunet.inference.records import Records
from dsdenseunet.inference.scans import DICOM_SUFFIX, SUFFIXES, Scan, require_dicom
from dsdenseunet.tasks.task import Task

STAGES = ("read", "network", "clean-up", "write")
# Held at once: the image and the one read ahead (2 each), the labels and those being written (1 each).
_BYTES_PER_VOXEL = 6
# And of the probabilities, for each class: those being computed and those being written (2 each).
_BYTES_PER_PROBABILITY = 4


@dataclasses.dataclass
class Outcome:
    """The outcome of a folder.

    Attributes:
        done: names segmented now.
        skipped: names whose prediction was there and current.
        empty: names, of both, whose prediction is all background.
        failures: scans that failed.
        seconds: summed over scans, by stage; stages of different scans overlap.
        wall_seconds: from start to end.
    """

    done: list[str] = dataclasses.field(default_factory=list)
    skipped: list[str] = dataclasses.field(default_factory=list)
    empty: list[str] = dataclasses.field(default_factory=list)
    failures: list[Failure] = dataclasses.field(default_factory=list)
    seconds: dict[str, float] = dataclasses.field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    wall_seconds: float = 0.0

    @property
    def finished(self) -> int:
        """Number of scans that are finished or have failed."""
        return len(self.done) + len(self.skipped) + len(self.failures)

    def summary(self) -> str:
        """One line for the terminal."""
        stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in self.seconds.items())
        empty = f"; all background: {', '.join(sorted(self.empty))}" if self.empty else ""
        return (
            f"{len(self.done)} segmented, {len(self.skipped)} already done, {len(self.failures)} failed in "
            f"{self.wall_seconds:.1f} s (seconds by stage, overlapping: {stages}){empty}"
        )


def predict_folder(
    predictors: Sequence[Segmenter],
    scans: Sequence[Scan],
    output: str | os.PathLike[str],
    *,
    suffix: str = SUFFIXES[0],
    failures_name: str = failures.NAME,
    pipelined: bool = True,
    save_probabilities: bool = False,
    report: Callable[[str], object] = tqdm.write,
) -> Outcome:
    """Segments scans into `output`, one lane of scans for each predictor (each on its own device).

    While a lane's network works on a scan, the next one is read and the previous one written: besides the
    scan that is being segmented it holds one more image and one more prediction. A scan that fails is
    reported, listed in `failures_name` and left out; the others go on. A file that this function did not
    write is never overwritten: its scan fails.

    Args:
        predictors: equal but for their device.
        scans: what to segment.
        output: folder; a prediction is written whole or not at all, on the scan's own grid.
        suffix: ".nii.gz" or ".nii"; ".dcm" writes DICOM segmentations, of scans that are DICOM series.
        failures_name: file in `output`; removed where nothing failed.
        save_probabilities: whether the network's class probabilities are written beside each prediction
            (`data.scans.probabilities`); they take 4 bytes more for each class and voxel. Predictions without
            them are then not current.
        pipelined: False reads, computes and writes one after the other, for comparison.
        report: called with a line for each scan.

    Raises:
        InputError: ".dcm" for a scan that is no DICOM series, or where nothing is installed that writes it.
    """
    start = time.perf_counter()
    output = Path(output)
    if save_probabilities and not predictors[0].has_probabilities:
        raise InputError(
            "--save_probabilities",
            found="a cascade: each of its networks has classes of its own",
            expected="a network that says how probable each class of the task is",
            fix="leave it out, or predict with a stage by itself: --workdir=DIR/STAGE",
        )
    if suffix == DICOM_SUFFIX:
        require_dicom(scans)
    else:
        colour_tables.write(output, predictors[0].task)
    records = Records(output, suffix, predictors[0], save_probabilities)
    job = _Job(records, predictors[0].task, save_probabilities, len(scans), report)
    outcome = job.outcome
    todo = [scan for scan in scans if not job.is_done(scan)]
    if outcome.skipped:
        done = f"{len(outcome.skipped)} of {len(scans)} already done"
        report(f"{done} with this code, these weights and options: skipped")
    queue = _Queue(todo)
    with ThreadPoolExecutor(len(predictors), "lane") as executor:
        lanes = [executor.submit(job.run_lane, predictor, queue, pipelined) for predictor in predictors]
        try:
            for lane in lanes:
                lane.result()
        except KeyboardInterrupt:
            report("finishing the scans in hand (Ctrl-C again: stop at once)")
            raise
        finally:
            queue.close()
    outcome.wall_seconds = time.perf_counter() - start
    failures.write(output / failures_name, outcome.failures)
    if outcome.failures:
        report(f"the failed scans and why: {output / failures_name}")
    return outcome


class _Queue:
    """An iterator over scans that several lanes may draw from, until it is closed."""

    def __init__(self, scans: Iterable[Scan]):
        self._scans = iter(scans)
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Scan]:
        return self

    def __next__(self) -> Scan:
        with self._lock:
            return next(self._scans)

    def close(self) -> None:
        with self._lock:
            self._scans = iter(())


@dataclasses.dataclass
class _Work:
    """One scan on its way through the stages; an array is dropped as soon as it is not needed any more."""

    scan: Scan
    # As `Records.key` says; taken before the scan is read, so that a later change of the file shows.
    key: dict[str, Any] = dataclasses.field(default_factory=dict)
    # Whether a prediction that is there is known to be outdated and not somebody else's.
    replaceable: bool = False
    grid: nifti.Grid | None = None
    image_DHW: np.ndarray | None = None
    labels_DHW: np.ndarray | None = None
    probabilities_CDHW: np.ndarray | None = None
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)


class _Job:
    """The stages of a scan. None of them raises: a failure is recorded and ends that scan."""

    def __init__(
        self,
        records: Records,
        task: Task,
        save_probabilities: bool,
        total: int,
        report: Callable[[str], object],
    ):
        self.records, self.task, self.total, self.report = records, task, total, report
        self.classes_kept = len(task.classes) if save_probabilities else 0
        self.outcome = Outcome()
        self._lock = threading.Lock()

    def is_done(self, scan: Scan) -> bool:
        """Whether a scan's prediction is there and current."""
        current = self.records.is_current(scan)
        if current:
            self.outcome.skipped.append(scan.name)
            if self.records.read(scan).get("foreground_voxels") == 0:
                self.outcome.empty.append(scan.name)
        return current

    def run_lane(self, predictor: Segmenter, queue: Iterator[Scan], pipelined: bool) -> None:
        """Reads, segments and writes scans until none is left."""
        if not pipelined:
            for scan in queue:
                self._write(self._segment(predictor, self._read(scan)))
            return
        with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
            writing: Future[None] | None = None
            reading = _submit_next(reader, self._read, queue)
            while reading is not None:
                work = reading.result()
                reading = _submit_next(reader, self._read, queue)
                work = self._segment(predictor, work)
                if writing is not None:
                    writing.result()
                writing = writer.submit(self._write, work)
                # Neither this frame nor a finished future may keep the arrays alive.
                del work
            if writing is not None:
                writing.result()

    def _read(self, scan: Scan) -> _Work:
        work = _Work(scan)
        with self._stage(work, "read"):
            channel_files.require(scan.images, self.task.channels)
            work.key = self.records.key(scan)
            self.records.check_replaceable(scan)
            work.replaceable = True
            held = _BYTES_PER_VOXEL + _BYTES_PER_PROBABILITY * self.classes_kept
            volume = nifti.read_image(scan.images, channels=self.task.channels, bytes_per_voxel=held)
            work.grid, work.image_DHW = volume.grid, volume.array_DHW
        return work

    def _segment(self, predictor: Segmenter, work: _Work) -> _Work:
        if work.image_DHW is not None and work.grid is not None:
            with (
                self._stage(work, "network"),
                tqdm(
                    total=len(work.image_DHW), desc=work.scan.name, unit="slice", leave=False, disable=None
                ) as bar,
            ):
                try:
                    if self.classes_kept:
                        shape = (self.classes_kept, *work.image_DHW.shape[:3])
                        work.probabilities_CDHW = np.empty(shape, np.uint16)
                    for member in predictor.members().values():
                        member.check_room(work.scan.image, work.grid.shape_DHW, work.grid.spacing_mm)
                    work.labels_DHW = predictor.network_labels(
                        work.image_DHW,
                        work.grid.spacing_mm,
                        bar.update,
                        probabilities_CDHW=work.probabilities_CDHW,
                    )
                except Exception as error:
                    raise network_faults.explained(work.scan, predictor, error) from None
        work.image_DHW = None
        if work.labels_DHW is not None and work.grid is not None:
            with self._stage(work, "clean-up"):
                work.labels_DHW = predictor.clean(work.labels_DHW, work.grid.spacing_mm)
        return work

    def _write(self, work: _Work) -> None:
        if work.labels_DHW is None or work.grid is None:
            return
        target, marks = self.records.target(work.scan), work.grid.marks
        with self._stage(work, "write"):
            self.records.begin(work.scan, work.key)
            if target.suffix == DICOM_SUFFIX:
                dicom_seg_writer.write_segmentation(target, work.labels_DHW, work.scan.image, self.task)
            else:
                nifti.write_labels(target, work.labels_DHW, work.grid)
            if work.probabilities_CDHW is not None:
                write_probabilities(self.records.probabilities(work.scan), work.probabilities_CDHW, work.grid)
            found = int(np.count_nonzero(work.labels_DHW))
            facts = {"seconds": work.seconds, "marks": marks, "foreground_voxels": found}
            self.records.finish(work.scan, work.key, **facts)
        if work.labels_DHW is not None:
            seconds = ", ".join(f"{stage} {value:.2f}" for stage, value in work.seconds.items())
            shape = " x ".join(map(str, work.labels_DHW.shape))
            with self._lock:
                self.outcome.done.append(work.scan.name)
                if not found:
                    self.outcome.empty.append(work.scan.name)
            scan = f"{work.scan.image.name} ({shape}) -> {target.name}"
            remarks = [*marks, *([] if found else ["every voxel is background"])]
            notes = f"  NOTE: {'; '.join(remarks)}" if remarks else ""
            self.report(f"[{self.outcome.finished}/{self.total}] {scan}  seconds: {seconds}{notes}")

    @contextlib.contextmanager
    def _stage(self, work: _Work, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        except Exception as error:  # whatever is wrong with one scan must not end the others
            work.image_DHW = work.labels_DHW = work.probabilities_CDHW = None
            failure = Failure.of(work.scan.image, stage, error)
            try:
                # The result of an earlier run with other weights or options must not be taken for this run's.
                if work.replaceable:
                    self.records.discard(work.scan)
            except OSError as left:
                message = f"{failure.message}\nits outdated prediction could not be removed: {left}"
                failure = dataclasses.replace(failure, message=message)
            with self._lock:
                self.outcome.failures.append(failure)
            self.report(f"[{self.outcome.finished}/{self.total}] FAILED at {stage}: {error}")
        work.seconds[stage] = time.perf_counter() - start
        with self._lock:
            self.outcome.seconds[stage] += work.seconds[stage]


def _submit_next(
    executor: ThreadPoolExecutor, read: Callable[[Scan], _Work], queue: Iterator[Scan]
) -> Future[_Work] | None:
    scan = next(queue, None)
    return None if scan is None else executor.submit(read, scan)
