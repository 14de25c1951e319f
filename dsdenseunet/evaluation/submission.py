"""A LiTS submission: a flat zip of `test-segmentation-N.nii`, checked against the test volumes."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import some
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.grid import axis_codes, distance_voxels
from dsdenseunet.data.scans.walk import (
    Found,
    PassedOver,
    VolumeFile,
    describe,
    not_used,
    same_file,
    two_files,
    walk,
)
from dsdenseunet.evaluation import geometry

TEST_CASES = range(70)
_VOLUME = re.compile(r"test-volume-0*([0-9]+)")
_PREDICTION = re.compile(r"test-(?:segmentation|volume)-0*([0-9]+)")
# Zip entries carry a time; a fixed one makes equal predictions equal files.
_TIME = (1980, 1, 1, 0, 0, 0)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One file of the zip: its name, what it holds, and what was assumed of the headers of its case."""

    name: str
    liver_voxels: int
    tumour_voxels: int
    marks: tuple[str, ...] = ()


def write_submission(
    predictions: str | os.PathLike[str],
    volumes: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    partial: bool = False,
    on_entry: Callable[[Entry], None] = lambda entry: None,
) -> Found[Entry]:
    """Writes the zip, whole or not at all.

    Args:
        predictions: folder with `test-segmentation-N` or `test-volume-N`, .nii or .nii.gz.
        volumes: folder with `test-volume-N`.
        out: a .zip file.
        partial: take the cases that are there instead of all of 0 to 69.
        on_entry: called for each file written.

    Returns:
        The files of the zip, and what was passed over in the two folders.

    Raises:
        InputError: missing or doubled files, labels other than 0, 1, 2, or another grid than the volume's.
            Every case that cannot be handed in is named.
    """
    out = Path(out)
    if out.suffix != ".zip":
        raise InputError(out, found="another ending", expected="a .zip file", fix="rename the output")
    answers, truth = walk(predictions), walk(volumes)
    scans = _numbered(volumes, truth, _VOLUME, "test-volume-N.nii")
    # A scan is not its own prediction where both lie in one folder.
    known = {os.path.realpath(path) for path in scans.values()}
    answers = Found(
        tuple(file for file in answers.used if os.path.realpath(file.path) not in known), answers.passed_over
    )
    predicted = _numbered(predictions, answers, _PREDICTION, "test-segmentation-N.nii")
    wanted = [number for number in TEST_CASES if number in predicted or not partial]
    _require(
        predicted,
        wanted,
        predictions,
        "predictions",
        "add them; --partial writes a zip of the predictions that are there",
    )
    _require(
        scans,
        wanted,
        volumes,
        "test volumes",
        "add them; or, with --partial, leave the predictions of these cases out",
    )
    entries: list[Entry] = []
    faults: list[InputError] = []
    with (
        files.atomic_path(out) as temporary,
        tempfile.TemporaryDirectory(dir=out.parent) as folder,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive,
    ):
        for number in wanted:
            unpacked = Path(folder) / f"test-segmentation-{number}.nii"
            try:
                entries.append(_write_entry(predicted[number], scans[number], unpacked))
            except InputError as error:
                faults.append(error)
            if faults:
                continue
            with (
                unpacked.open("rb") as source,
                archive.open(_zip_info(unpacked), "w", force_zip64=True) as to,
            ):
                shutil.copyfileobj(source, to)
            unpacked.unlink()
            on_entry(entries[-1])
        if faults:
            raise _all_of(faults, len(wanted), predictions)
    others = [*answers.passed_over, *truth.passed_over]
    others += [
        PassedOver(file.path, "not among the cases of the zip") for file in (*answers.used, *truth.used)
    ]
    used = [path for number in wanted for path in (predicted[number], scans[number])]
    return Found(tuple(entries), not_used(others, used))


def notes(entries: Iterable[Entry]) -> list[str]:
    """What to know about the files of a zip before it is handed in, a line for each thing."""
    found: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        if not entry.liver_voxels:
            found["no liver, so that every score of it is the worst"].append(entry.name)
        for mark in entry.marks:
            found[mark].append(entry.name)
    return [f"note: {note}: {some(names)}" for note, names in found.items()]


def _write_entry(prediction: Path, scan: Path, target: Path) -> Entry:
    grid = nifti.read_grid(scan)
    own = nifti.read_grid(prediction)
    if own.shape_DHW != grid.shape_DHW:
        raise InputError(
            prediction,
            found=_describe(own),
            expected=f"{_describe(grid)}, as {scan}",
            fix="run experiments.predict on this volume, or resample onto its grid, nearest neighbour",
        )
    names = geometry.differences(grid, own)
    if names:
        apart = distance_voxels(grid, own)
        raise InputError(
            prediction,
            found=f"a grid up to {apart:.1f} voxels away from the scan's (another {' and '.join(names)})",
            expected=f"the affine of {scan}",
            fix="run experiments.predict on this volume: what it writes lies on the scan's own grid",
        )
    labels_DHW = nifti.read_labels(prediction).array_DHW
    nifti.write_labels(target, labels_DHW, grid)
    return Entry(
        target.name,
        int(np.count_nonzero(labels_DHW)),
        int(np.count_nonzero(labels_DHW == 2)),
        (*(f"scan: {mark}" for mark in grid.marks), *(f"prediction: {mark}" for mark in own.marks)),
    )


def _all_of(faults: list[InputError], cases: int, predictions: str | os.PathLike[str]) -> InputError:
    """One error for all; a single one as it is."""
    if len(faults) == 1:
        return faults[0]
    lines = [f"{fault.where}: {fault.found}; expected {fault.expected}; {fault.fix}" for fault in faults]
    return InputError(
        predictions,
        found="\n    ".join([f"{len(faults)} of {cases} cases that cannot be handed in:", *lines]),
        expected="labels 0, 1 and 2 on the grid of each case's volume",
        fix="repair these; nothing was written",
    )


def _describe(grid: nifti.Grid) -> str:
    return f"{' x '.join(map(str, grid.shape_IJK))} voxels along {axis_codes(grid)}"


def _zip_info(path: Path) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(path.name, _TIME)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info


def _numbered(
    root: str | os.PathLike[str], tree: Found[VolumeFile], pattern: re.Pattern[str], example: str
) -> dict[int, Path]:
    numbered: dict[int, Path] = {}
    doubled = []
    for file in tree.used:
        if match := pattern.fullmatch(file.stem):
            number = int(match[1])
            first = numbered.setdefault(number, file.path)
            if first != file.path and not same_file(first, file.path):
                doubled.append((f"test case {number}", first, file.path))
    if doubled:
        raise two_files(doubled)
    if numbered.keys().isdisjoint(TEST_CASES):
        found = "; ".join([f"no {example}", *describe(tree.passed_over)])
        raise InputError(root, found=found, expected="test cases 0 to 69", fix="check the path")
    return numbered


def _require(
    there: dict[int, Path], wanted: list[int], root: str | os.PathLike[str], what: str, fix: str
) -> None:
    missing = [number for number in wanted if number not in there]
    if missing:
        raise InputError(
            root,
            found=f"no {what} for cases {', '.join(map(str, missing))}",
            expected=f"all of {len(wanted)} cases",
            fix=fix,
        )
