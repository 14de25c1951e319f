"""The fingerprint of a data set: every labelled case, and what they have in common."""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import counted, one_line
from dsdenseunet.data.fingerprint.case_fingerprint import CaseFingerprint, Quantiles, fingerprint_case
from dsdenseunet.data.fingerprint.intensities import Intensities, pooled
from dsdenseunet.data.isolated import WorkerDiedError, run_each
from dsdenseunet.data.resampling import shape_at
from dsdenseunet.data.scans import walk
from dsdenseunet.data.scans.layouts import find_cases
from dsdenseunet.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """What is known of a data set.

    Attributes:
        data: its folder, as given.
        task: what its images and labels were read as.
        cases: those that are labelled and could be read, in natural order of their names.
        foreground: of each channel, the values of all classes but background over all cases, which weigh
            alike; None where no case has any.
        failures: case and message of each that could not be read.
        unlabelled: names of scans of the test part, which have no labels.
        passed_over: files that look like scans and are not used.
    """

    data: str
    task: Task
    cases: tuple[CaseFingerprint, ...]
    foreground: tuple[Intensities | None, ...]
    failures: tuple[tuple[str, str], ...]
    unlabelled: tuple[str, ...]
    passed_over: tuple[walk.PassedOver, ...]

    @property
    def median_shape(self) -> tuple[int, int, int]:
        """Of each side by itself, in voxels along (D, H, W)."""
        d, h, w = (int(side) for side in np.median([case.shape for case in self.cases], axis=0))
        return d, h, w

    @property
    def median_spacing_mm(self) -> tuple[float, float, float]:
        """Of each axis by itself, along (D, H, W)."""
        d, h, w = (
            float(f"{side:.6g}") for side in np.median([case.spacing_mm for case in self.cases], axis=0)
        )
        return d, h, w

    @property
    def class_shares(self) -> tuple[float, ...]:
        """Of all voxels that count, the share of each class."""
        totals = np.sum([case.class_voxels for case in self.cases], axis=0)
        return tuple(float(total / totals.sum()) for total in totals)

    def resampled(self, spacing_mm: Sequence[float]) -> Fingerprint:
        """The same data with the sides and spacing that they have after resampling; (): as they are.

        What is counted in voxels (classes, regions, intensities) stays that of the scans.
        """
        if not spacing_mm:
            return self
        d, h, w = spacing_mm
        cases = [
            dataclasses.replace(
                case, shape=shape_at(case.shape, case.spacing_mm, spacing_mm), spacing_mm=(d, h, w)
            )
            for case in self.cases
        ]
        return dataclasses.replace(self, cases=tuple(cases))

    def having(self, region: str) -> list[CaseFingerprint]:
        """The cases that have a region."""
        return [case for case in self.cases if region in case.regions]

    def as_json(self) -> dict[str, Any]:
        """Plain values; `summary` holds what follows from `cases`."""
        return {
            "data": self.data,
            "task": self.task.to_config(),
            "summary": self._summary(),
            "cases": [case.as_json() for case in self.cases],
            "failures": [{"case": name, "message": message} for name, message in self.failures],
            "unlabelled": list(self.unlabelled),
            "passed_over": walk.to_json(self.passed_over),
        }

    def _summary(self) -> dict[str, Any]:
        sides = np.array([case.shape for case in self.cases])
        spacings = np.array([case.spacing_mm for case in self.cases])
        return {
            "cases": len(self.cases),
            "shape": {name: _sides(function(sides, axis=0)) for name, function in _OVER_CASES.items()},
            "spacing_mm": {
                name: _sides(function(spacings, axis=0)) for name, function in _OVER_CASES.items()
            },
            "axes": dict(Counter(case.axes for case in self.cases)),
            "class_shares": {
                name: float(f"{share:.4g}") for name, share in zip(self.task.classes, self.class_shares)
            },
            "regions": {region.name: self._region(region.name) for region in self.task.regions},
            "foreground": [found.as_json() if found else None for found in self.foreground],
        }

    def _region(self, name: str) -> dict[str, Any]:
        shapes = [case.regions[name] for case in self.having(name)]
        if not shapes:
            return {"cases": 0}
        return {
            "cases": len(shapes),
            "median_sides": _sides(np.median([shape.sides for shape in shapes], axis=0)),
            "median_pieces": statistics.median(shape.pieces for shape in shapes),
            "in_one_piece": sum(shape.pieces == 1 for shape in shapes),
            "least_largest_share": min(shape.largest_share for shape in shapes),
        }


_OVER_CASES: dict[str, Callable[..., Any]] = {"least": np.min, "median": np.median, "largest": np.max}


def _sides(values: Any) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def fingerprint(
    root: str | os.PathLike[str],
    task: Task,
    workers: int = 1,
    on_case: Callable[[int, int, str], None] = lambda done, of, name: None,
) -> Fingerprint:
    """Reads every labelled case below a folder; one that cannot be read fails alone.

    Args:
        root: a data set, as `find_cases` takes it.
        task: what its images and labels are.
        workers: processes that read at once.
        on_case: called after each case with how many are done, of how many, and its name.

    Raises:
        InputError: no such folder, no scan in it, no labelled one, or none that can be read.
    """
    found = find_cases(root, len(task.channels))
    cases = [case for case in found.used if case.labels or not case.test]
    if not any(case.labels for case in found.used):
        raise InputError(
            root,
            found=f"{counted(len(found.used), 'scan')}, none of them with labels",
            expected="labels beside the scans: segmentation-N for volume-N, or labelsTr for imagesTr",
            fix="point at the folder that holds both, or name the label files so",
        )
    read: dict[int, tuple[CaseFingerprint, tuple[Quantiles, ...]]] = {}
    failed: dict[int, str] = {}
    answers = run_each(fingerprint_case, [(case, task) for case in cases], workers)
    for done, (index, answer) in enumerate(answers, start=1):
        if isinstance(answer, Exception):
            failed[index] = _message(answer)
        else:
            read[index] = answer
        on_case(done, len(cases), cases[index].name)
    if not read:
        raise InputError(
            root,
            found=f"{counted(len(cases), 'scan')}, none of which can be read; the first one: "
            + one_line(failed[0]),
            expected="labelled scans that `python -m experiments.prepare` accepts",
            fix="correct the files; `python -m experiments.doctor` says what is wrong with each",
        )
    order = sorted(read)
    return Fingerprint(
        data=os.fspath(root),
        task=task,
        cases=tuple(read[index][0] for index in order),
        foreground=tuple(
            _pooled([read[index] for index in order], channel) for channel in range(len(task.channels))
        ),
        failures=tuple((cases[index].name, failed[index]) for index in sorted(failed)),
        unlabelled=tuple(case.name for case in found.used if case.test and not case.labels),
        passed_over=tuple(found.passed_over),
    )


def _pooled(
    cases: Sequence[tuple[CaseFingerprint, tuple[Quantiles, ...]]], channel: int
) -> Intensities | None:
    parts = [(case.foreground[channel], quantiles[channel]) for case, quantiles in cases]
    return pooled([(found, table) for found, table in parts if found is not None and table is not None])


def _message(error: Exception) -> str:
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, WorkerDiedError | MemoryError):
        return f"{error}; run again with --workers=1"
    return f"{type(error).__name__}: {error}"
