"""Slices in a row: their order, and the grid that they lie on if they are one volume.

Nothing is taken from names, from instance numbers, or from what a header says of thickness: a slice lies
where its position says.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import by, counted, some
from dsdenseunet.data.scans.dicom_file import LEAST_SLICES
from dsdenseunet.data.scans.dicom_slices import DISTINGUISHING, Slice

# Rounded directions may differ by so much; over 512 voxels it is a twentieth of one.
_SAME_DIRECTION = 1e-4
_SAME_SPACING = 1e-3
_SAME_PLACE_MM = 0.01
# As far as this from where equal distances would put it, in voxels, a slice may be rounded.
_OFF_VOXELS = 0.1
# Below, the cosine by which a length is wrong differs from 1 by less than 4e-5.
_MOST_TILT_DEGREES = 0.5


def stacked(slices: Sequence[Slice], where: Path) -> tuple[list[Slice], NDArray[np.float64], list[str]]:
    """Puts slices in order and finds their grid.

    Args:
        slices: in any order.
        where: their file or folder, for messages.

    Returns:
        the slices along their normal, which is at right angles to rows and columns and right-handed with
        them; (4, 4) from (column, row, slice) to mm, axes to the right, the front and the head, as NIfTI
        has them; and what was found odd.

    Raises:
        InputError: slices that differ in size, spacing, direction or type; several at one place; one that is
            missing; distances that differ; a tilted gantry.
    """
    _check_alike(slices, where)
    normal = slices[0].normal
    ordered = sorted(slices, key=lambda one: float(one.position @ normal))
    ordered, marks = _without_copies(ordered, normal, where)
    if len(ordered) < LEAST_SLICES:
        found = counted(len(ordered), "slice")
        _refuse(where, found, f"{LEAST_SLICES} at least", "export the whole series, or leave it out")
    _check_distances(ordered, normal, where)
    positions = np.array([one.position for one in ordered])
    step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    _check_straight(ordered, positions, step, normal, where)
    affine = np.eye(4)
    affine[:3, :2] = slices[0].directions * slices[0].spacing_mm
    affine[:3, 2], affine[:3, 3] = step, positions[0]
    return ordered, np.diag((-1.0, -1.0, 1.0, 1.0)) @ affine, marks


def _check_alike(slices: Sequence[Slice], where: Path) -> None:
    first = slices[0]
    for other in slices[1:]:
        if other.shape != first.shape:
            what, values = "sizes", [f"{by(one.shape)} pixels" for one in (first, other)]
        elif not np.allclose(other.directions, first.directions, atol=_SAME_DIRECTION):
            what, values = (
                "directions",
                [by(one.directions.T.round(4).ravel().tolist()) for one in (first, other)],
            )
        elif not np.allclose(other.spacing_mm, first.spacing_mm, rtol=_SAME_SPACING):
            what, values = "pixel spacings", [f"{by(one.spacing_mm)} mm" for one in (first, other)]
        elif other.dtype != first.dtype:
            what, values = "types of stored values", [one.dtype.name for one in (first, other)]
        else:
            continue
        _refuse(
            where,
            f"slices of different {what}: {first} has {values[0]}, {other} has {values[1]}",
            "slices that are alike but for where they lie",
            "leave the odd ones out (localisers, most often), or put each volume into a folder of its own",
        )


def _without_copies(
    ordered: Sequence[Slice], normal: NDArray[np.float64], where: Path
) -> tuple[list[Slice], list[str]]:
    """The slices without second copies of a file; other slices at one place are refused."""
    kept, copies = [ordered[0]], []
    for one in ordered[1:]:
        last = kept[-1]
        if (one.position - last.position) @ normal > _SAME_PLACE_MM:
            kept.append(one)
        elif one.frame is None and one.uid == last.uid and files.sha256(one.path) == files.sha256(last.path):
            copies.append(str(one))
        else:
            places = len({round(float(other.position @ normal) / _SAME_PLACE_MM) for other in ordered})
            told = [name for name in DISTINGUISHING if one.told.get(name) != last.told.get(name)]
            by_what = f"; they differ in {told[0]}" if told else ""
            _refuse(
                where,
                f"{len(ordered)} slices at {counted(places, 'place')}: {last} and {one} lie in one{by_what}",
                "one volume, and each slice once",
                "keep the files of one volume (one phase, echo or time), in a folder of its own",
            )
    marks = (
        [f"{counted(len(copies), 'second copy', 'second copies')} of slices: {some(copies)}"]
        if copies
        else []
    )
    return kept, marks


def _check_distances(ordered: Sequence[Slice], normal: NDArray[np.float64], where: Path) -> None:
    along = np.array([one.position @ normal for one in ordered])
    steps = np.diff(along)
    usual = float(np.median(steps))
    even = np.linspace(along[0], along[-1], len(along))
    if np.abs(along - even).max() <= _OFF_VOXELS * usual and np.allclose(steps, usual, rtol=2 * _OFF_VOXELS):
        return
    # A slice that is missing leaves a distance that is a multiple of the usual one.
    multiples = steps / usual
    if np.abs(multiples - np.rint(multiples)).max() <= _OFF_VOXELS and multiples.min() > 0.5:
        gaps = [
            f"{round(times) - 1} between {before} at {_at(before)} and {after} at {_at(after)}"
            for times, (before, after) in zip(multiples, pairwise(ordered))
            if times > 1.5
        ]
        missing = round(float(np.rint(multiples).sum())) - len(steps)
        _refuse(
            where,
            f"{counted(missing, 'slice')} missing: {some(gaps)}",
            f"a slice every {usual:.4g} mm",
            "export the whole series again; a slice that is not there is not made up",
        )
    widest = int(steps.argmax())
    _refuse(
        where,
        f"slices {steps.min():.4g} to {steps.max():.4g} mm apart (the most between {ordered[widest]} and "
        f"{ordered[widest + 1]})",
        "equal distances",
        "keep the slices of one distance, or resample the series to one and store it as NIfTI",
    )


def _check_straight(
    ordered: Sequence[Slice],
    positions: NDArray[np.float64],
    step: NDArray[np.float64],
    normal: NDArray[np.float64],
    where: Path,
) -> None:
    """Refuses slices that are not stacked at right angles to their planes."""
    aside = np.linalg.norm(positions - positions[0] - np.outer(np.arange(len(ordered)), step), axis=1)
    length = float(np.linalg.norm(step))
    if aside.max() > _OFF_VOXELS * max(*ordered[0].spacing_mm, length):
        _refuse(
            where,
            f"slices that lie up to {aside.max():.4g} mm aside of one line ({ordered[int(aside.argmax())]})",
            "slices one behind the other",
            "export the series again, or put each volume into a folder of its own",
        )
    tilt = float(np.degrees(np.arccos(np.clip(step @ normal / length, -1, 1))))
    if tilt > _MOST_TILT_DEGREES:
        _refuse(
            where,
            f"a gantry tilted by {tilt:.1f} degrees: each slice is shifted by "
            f"{np.linalg.norm(step - (step @ normal) * normal):.3g} mm against the one before",
            "slices at right angles to their line: anatomy would be sheared, and lengths wrong",
            "resample the series on to axes at right angles; dcm2niix does (NAME_Tilt_1.nii)",
        )


def _at(one: Slice) -> str:
    """A position, in DICOM's axes."""
    return f"({', '.join(f'{value:.4g}' for value in one.position)}) mm"


def _refuse(where: str | os.PathLike[str], found: str, expected: str, fix: str) -> NoReturn:
    raise InputError(where, found=found, expected=expected, fix=fix)
