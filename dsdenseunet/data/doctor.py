"""Examines every file of a data set against the known faults of such data, and against common sense."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from dsdenseunet.data import walk
from dsdenseunet.data.case_checks import Examined, examine_case
from dsdenseunet.data.findings import SEVERITIES, Finding
from dsdenseunet.data.lits import find_cases
from dsdenseunet.data.repair import repair_case
from dsdenseunet.errors import InputError


def examine(
    root: str | os.PathLike[str],
    *,
    repair_to: str | os.PathLike[str] | None = None,
    workers: int = 1,
    on_case: Callable[[Examined], None] = lambda examined: None,
) -> tuple[list[Finding], dict[str, Any]]:
    """Examines all cases below a folder; the files themselves are never changed.

    Args:
        root: a data set, as `lits.find_cases` takes it.
        repair_to: another folder for copies of all cases that can be used, repaired where that is
            possible, in LiTS layout names; None: write none.
        workers: processes.
        on_case: called for each case.

    Returns:
        findings, worst first, and the manifest: `files` (hash, shape, spacing, orientation, values),
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
    found = find_cases(root)
    cases = found.used
    by_name = {}
    for examined in _run(examine_case, [(case,) for case in cases], workers):
        by_name[examined.case.name] = examined
        on_case(examined)
    examinations = [by_name[case.name] for case in cases]
    findings = [finding for examined in examinations for finding in examined.findings]
    doubles = _duplicates(examinations)
    findings += doubles
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    copies: list[dict[str, Any]] = []
    if repair_to is not None:
        left_out = {
            finding.path for finding in findings if finding.severity == "error" and not finding.repairable
        }
        jobs = [
            (examined.case, examined.plan, Path(repair_to))
            for examined in examinations
            if examined.plan is not None and not left_out & {examined.case.image, examined.case.labels}
        ]
        copies = sorted(_run(repair_case, jobs, workers), key=lambda copy: str(copy["image"]))
    manifest = {
        "root": str(root),
        "passed_over": walk.to_json(found.passed_over),
        "files": [fact for examined in examinations for fact in examined.facts],
        "findings": [{**dataclasses.asdict(f), "path": str(f.path)} for f in findings],
        "copies": copies,
    }
    return findings, manifest


def _duplicates(examinations: Sequence[Examined]) -> list[Finding]:
    same: dict[str, list[Path]] = defaultdict(list)
    for examined in examinations:
        if examined.fingerprint:
            same[examined.fingerprint].append(examined.case.image)
    return [
        Finding("error", "duplicate", path, f"the same voxels as {paths[0]}", "keep one of the two")
        for paths in same.values()
        for path in paths[1:]
    ]


def _run(function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], workers: int) -> Iterator[Any]:
    if workers <= 1 or len(jobs) <= 1:
        yield from (function(*job) for job in jobs)
        return
    with ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        for future in as_completed([pool.submit(function, *job) for job in jobs]):
            yield future.result()
