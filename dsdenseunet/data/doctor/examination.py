"""Examines every file of a data set against the known faults of such data, and against common sense."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.doctor.case_checks import Examined, examine_case
from dsdenseunet.data.doctor.findings import SEVERITIES, Finding
from dsdenseunet.data.doctor.repair import repair_case
from dsdenseunet.data.isolated import WorkerDiedError, run_each
from dsdenseunet.data.scans import walk
from dsdenseunet.data.scans.layouts import Case, find_cases
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.task import Task


def examine(
    root: str | os.PathLike[str],
    *,
    task: Task = lits.TASK,
    repair_to: str | os.PathLike[str] | None = None,
    workers: int = 1,
    on_case: Callable[[Examined], None] = lambda examined: None,
) -> tuple[list[Finding], dict[str, Any]]:
    """Examines all cases below a folder; the files themselves are never changed.

    Whatever is wrong with one case, the others are examined and copied: what cannot be examined or copied
    is a finding of its own.

    Args:
        root: a data set, as `find_cases` takes it.
        task: what its images and labels must be.
        repair_to: another folder for copies of all cases that can be used, repaired where that is
            possible, under the names and in the subfolders of the originals; None: write none.
        workers: processes.
        on_case: called for each case.

    Returns:
        findings, worst first, and the manifest: `task`, `files` (hash, shape, spacing, orientation, values),
        `findings`, `copies`, `passed_over`.

    Raises:
        InputError: no such folder, no cases, or `repair_to` inside the data set.
    """
    if repair_to is not None and Path(repair_to).resolve().is_relative_to(Path(root).resolve()):
        raise InputError(
            repair_to,
            found="a folder inside the data set",
            expected="another place: repaired copies never mix with the originals",
            fix="choose a folder elsewhere",
        )
    found = find_cases(root, len(task.channels))
    cases = found.used
    done: dict[int, Examined] = {}
    for index, answer in run_each(examine_case, [(case, task) for case in cases], workers):
        if isinstance(answer, Exception):
            failed = _failed("not-examined", cases[index], answer)
            answer = Examined(cases[index], (failed,), None, ("", ""), ())
        done[index] = answer
        on_case(answer)
    examinations = [done[index] for index in range(len(cases))]
    findings = [finding for examined in examinations for finding in examined.findings]
    findings += _duplicates(examinations)
    copies: list[dict[str, Any]] = []
    if repair_to is not None:
        left_out = {
            finding.path for finding in findings if finding.severity == "error" and not finding.repairable
        }
        jobs = [
            (examined.case, examined.plan, Path(root), Path(repair_to), task)
            for examined in examinations
            if examined.plan is not None and not left_out & {*examined.case.images, examined.case.labels}
        ]
        for index, answer in run_each(repair_case, jobs, workers):
            if isinstance(answer, Exception):
                findings.append(_failed("not-copied", jobs[index][0], answer))
            else:
                copies.append(answer)
        copies.sort(key=lambda copy: str(copy["images"][0]))
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    manifest = {
        "root": str(root),
        "task": task.to_config(),
        "passed_over": walk.to_json(found.passed_over),
        "files": [fact for examined in examinations for fact in examined.facts],
        "findings": [{**dataclasses.asdict(f), "path": str(f.path)} for f in findings],
        "copies": copies,
    }
    return findings, manifest


def _failed(check: str, case: Case, error: Exception) -> Finding:
    """A case that could not be examined or copied, as a finding."""
    if isinstance(error, InputError):
        return Finding("error", check, Path(error.where), error.found, error.fix)
    if isinstance(error, WorkerDiedError | MemoryError):
        fix = "run again with fewer --workers, or where there is more memory"
    elif isinstance(error, OSError):
        fix = "check disk and rights, then run again"
    else:
        fix = "please report this with the file's header: the doctor must survive any file"
    return Finding("error", check, case.image, f"{type(error).__name__}: {error}", fix)


def _duplicates(examinations: Sequence[Examined]) -> list[Finding]:
    """Scans that are there twice; of those with different labels, one may be another expert's."""
    same: dict[str, list[Examined]] = defaultdict(list)
    for examined in examinations:
        if examined.fingerprints[0]:
            same[examined.fingerprints[0]].append(examined)
    findings = []
    for first, *others in same.values():
        for other in others:
            found = f"the same voxels as {first.case.image}"
            if other.fingerprints[1] in ("", first.fingerprints[1]):
                repair = "take this file and its labels out of the data set"
            else:
                found += ", with other labels"
                repair = (
                    "if a second expert has drawn them, train and validate on one of the two only: "
                    "take the other pair out of the data set, and keep it to compare"
                )
            findings.append(Finding("error", "duplicate", other.case.image, found, repair))
    return findings
