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
from dsdenseunet.errors import InputError

TEST_CASES = range(70)
_VOLUME = re.compile(r"test-volume-0*(\d+)\.nii(\.gz)?")
_PREDICTION = re.compile(r"test-(?:segmentation|volume)-0*(\d+)\.nii(\.gz)?")
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
) -> list[Entry]:
    """Writes the zip, whole or not at all.

    Args:
        predictions: folder with `test-segmentation-N` or `test-volume-N`, .nii or .nii.gz.
        volumes: folder with `test-volume-N`.
        out: a .zip file.
        partial: take the cases that are there instead of all of 0 to 69.
        on_entry: called for each file written.

    Raises:
        InputError: missing or doubled files, labels other than 0, 1, 2, or another grid than the
            volume's (shape or place).
    """
    out = Path(out)
    if out.suffix != ".zip":
        raise InputError(out, found="another ending", expected="a .zip file", fix="rename the output")
    predicted = _numbered(predictions, _PREDICTION, "test-segmentation-N.nii")
    scans = _numbered(volumes, _VOLUME, "test-volume-N.nii")
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
    return entries


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


def _numbered(root: str | os.PathLike[str], pattern: re.Pattern[str], example: str) -> dict[int, Path]:
    root = Path(root)
    if not root.is_dir():
        found = "a file" if root.exists() else "no such folder"
        raise InputError(root, found=found, expected=f"a folder with {example}", fix="check the path")
    numbered: dict[int, Path] = {}
    for path in sorted(root.rglob("*.nii*")):
        if match := pattern.fullmatch(path.name):
            number = int(match[1])
            if number in numbered:
                raise InputError(
                    path,
                    found=f"a second file for test case {number}; the first is {numbered[number]}",
                    expected="one file a case",
                    fix="remove one of the two",
                )
            numbered[number] = path
    if not numbered:
        raise InputError(root, found=f"no {example}", expected="test cases 0 to 69", fix="check the path")
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
