"""A LiTS submission: a flat zip of `test-segmentation-N.nii`, checked against the test volumes."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dsdenseunet import files
from dsdenseunet.data import grid_checks, nifti
from dsdenseunet.data.walk import (
    Found,
    PassedOver,
    VolumeFile,
    describe,
    not_used,
    same_file,
    two_files,
    walk,
)
from dsdenseunet.errors import InputError

TEST_CASES = range(70)
_VOLUME = re.compile(r"test-volume-0*([0-9]+)")
_PREDICTION = re.compile(r"test-(?:segmentation|volume)-0*([0-9]+)")
# A grid counts as the volume's if its corners are as near as this, in voxels.
_SAME_GRID_VOXELS = 0.1
# Zip entries carry a time; a fixed one makes equal predictions equal files.
_TIME = (1980, 1, 1, 0, 0, 0)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One file of the zip: its name and what it holds."""

    name: str
    liver_voxels: int
    tumour_voxels: int


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
        InputError: missing or doubled files, labels other than 0, 1, 2, or another grid than the
            volume's (shape or place).
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
    wanted = sorted(predicted) if partial else list(TEST_CASES)
    _require(predicted, wanted, predictions, "predictions")
    _require(scans, wanted, volumes, "test volumes")
    entries = []
    with (
        files.atomic_path(out) as temporary,
        tempfile.TemporaryDirectory(dir=out.parent) as folder,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive,
    ):
        for number in wanted:
            unpacked = Path(folder) / f"test-segmentation-{number}.nii"
            entries.append(_write_entry(predicted[number], scans[number], unpacked))
            with (
                unpacked.open("rb") as source,
                archive.open(_zip_info(unpacked), "w", force_zip64=True) as to,
            ):
                shutil.copyfileobj(source, to)
            unpacked.unlink()
            on_entry(entries[-1])
    others = [*answers.passed_over, *truth.passed_over]
    others += [
        PassedOver(file.path, "not among the cases of the zip") for file in (*answers.used, *truth.used)
    ]
    used = [path for number in wanted for path in (predicted[number], scans[number])]
    return Found(tuple(entries), not_used(others, used))


def _write_entry(prediction: Path, scan: Path, target: Path) -> Entry:
    grid = nifti.read_grid(scan)
    own = nifti.read_grid(prediction)
    if own.shape_DHW != grid.shape_DHW:
        raise InputError(
            prediction,
            found=_describe(own),
            expected=f"{_describe(grid)}, as {scan}",
            fix="predict this volume itself, or resample onto its grid, nearest neighbour",
        )
    apart = grid_checks.distance_voxels(grid, own)
    if apart > _SAME_GRID_VOXELS:
        raise InputError(
            prediction,
            found=f"a grid that is {apart:.1f} voxels away from the scan's",
            expected=f"the affine of {scan}",
            fix="predict this volume itself; its output keeps the affine",
        )
    labels_DHW = nifti.read_labels(prediction).array_DHW
    nifti.write_labels(target, labels_DHW, grid)
    return Entry(target.name, int(np.count_nonzero(labels_DHW)), int(np.count_nonzero(labels_DHW == 2)))


def _describe(grid: nifti.Grid) -> str:
    return f"{' x '.join(map(str, grid.shape_IJK))} voxels along {grid_checks.axis_codes(grid)}"


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
    if not numbered:
        found = "; ".join([f"no {example}", *describe(tree.passed_over)])
        raise InputError(root, found=found, expected="test cases 0 to 69", fix="check the path")
    return numbered


def _require(there: dict[int, Path], wanted: list[int], root: str | os.PathLike[str], what: str) -> None:
    missing = [number for number in wanted if number not in there]
    if missing:
        raise InputError(
            root,
            found=f"no {what} for cases {', '.join(map(str, missing))}",
            expected=f"all of {len(wanted)} cases",
            fix="add them; --partial writes a zip of the predictions that are there",
        )
