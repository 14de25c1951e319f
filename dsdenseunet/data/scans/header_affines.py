"""The affines that a NIfTI header names, in mm, read as the standard and its tolerant readers do."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from nibabel.orientations import io_orientation
from numpy.typing import NDArray

from dsdenseunet.data.scans.stored_volume import Header

Affine = NDArray[np.float64]
SFORM, QFORM, VOXEL_SIZE = "sform", "qform", "voxel size"
# By code of `xyzt_units`: millimetres in a unit. Every program takes "unknown" for millimetres.
UNITS_MM = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}

# Voxel sides and distances from the origin (mm) beyond these are taken for a broken header. The lower one
# lets a voxel of 10 microns pass, however it was rounded.
_SIDES_MM = (9.9e-3, 1e2)
_FARTHEST_MM = 1e6
# Least volume of the box of three unit axes; below, two of them run nearly the same way.
_LEAST_VOLUME = 0.1


def candidates(header: Header) -> tuple[float, dict[str, Affine]]:
    """Millimetres in one of the header's units, and the affine in mm of each source that it names.

    The sources come best first: sform and qform where their code says that they are there, and always the
    voxel size. None of them need be sound (see `fault`).
    """
    stated = UNITS_MM.get(unit_code(header), 1.0)
    affines = _in_mm(header, stated)
    # A unit under which nothing makes sense was set by mistake if something does in millimetres.
    if stated != 1 and all(fault(affine) for affine in affines.values()):
        in_mm = _in_mm(header, 1.0)
        if not all(fault(affine) for affine in in_mm.values()):
            return 1.0, in_mm
    return stated, affines


def unit_code(header: Header) -> int:
    """The code of the unit of length, without that of time."""
    return int(header["xyzt_units"]) & 7


def stated_sides_mm(header: Header, unit_mm: float) -> NDArray[np.float64]:
    """The three voxel sizes as they stand in the header, signs, zeros and NaN included."""
    return np.asarray(header["pixdim"][1:4], np.float64) * unit_mm


def sides_mm(header: Header, unit_mm: float) -> NDArray[np.float64]:
    """Voxel sizes as nibabel repairs them when it loads a file: without their signs, and 1 for 0."""
    sides = np.abs(stated_sides_mm(header, unit_mm))
    sides[sides == 0] = 1
    return sides


def fault(affine: Affine) -> str:
    """Why an affine in mm cannot be that of an image; empty if it can."""
    if not np.isfinite(affine).all():
        return "holds NaN or infinity"
    with np.errstate(all="ignore"):
        sides = np.linalg.norm(affine[:3, :3], axis=0)
    if not (sides.min() >= _SIDES_MM[0] and sides.max() <= _SIDES_MM[1]):
        return f"gives voxels of {in_words(sides)}"
    if abs(np.linalg.det(affine[:3, :3] / sides)) < _LEAST_VOLUME:
        return "has axes that do not span space"
    if np.abs(affine[:3, 3]).max() > _FARTHEST_MM:
        return f"places the voxels {np.abs(affine[:3, 3]).max():g} mm away from the origin"
    return "" if np.isfinite(io_orientation(affine)).all() else "has axes that do not span space"


def in_words(sides: NDArray[np.float64]) -> str:
    """Three lengths, e.g. "0.8 x 0.8 x 2.5 mm"."""
    return " x ".join(f"{side:g}" for side in sides) + " mm"


def _in_mm(header: Header, unit_mm: float) -> dict[str, Affine]:
    affines = {}
    with np.errstate(all="ignore"):
        if header["sform_code"] > 0:
            affines[SFORM] = np.diag((unit_mm, unit_mm, unit_mm, 1)) @ np.asarray(
                header.get_sform(), np.float64
            )
        if header["qform_code"] > 0:
            affines[QFORM] = _qform(header, unit_mm)
        affines[VOXEL_SIZE] = _from_voxel_size(header, unit_mm)
    return affines


def stored_quaternion(header: Header) -> NDArray[np.float64]:
    """The qform's quaternion without its first number, which follows from the other three."""
    return np.array([header[f"quatern_{letter}"] for letter in "bcd"], np.float64)


def _qform(header: Header, unit_mm: float) -> Affine:
    """As nifti1_io.c and nibabel read it; NaN where the quaternion holds no numbers.

    Next to half a turn the fourth number is lost in rounding: it counts as 0, and the others are brought
    to length 1 as they are where rounding made them longer.
    """
    bcd = stored_quaternion(header)
    square = float(bcd @ bcd)
    rounding = 3 * np.finfo(header["quatern_b"].dtype).eps
    whole = square >= 1 - rounding
    quaternion = (0.0, *bcd / np.sqrt(square)) if whole else (np.sqrt(1 - square), *bcd)
    affine = np.full((4, 4), np.nan)
    affine[3] = (0, 0, 0, 1)
    if np.isfinite(square):
        qfac = -1 if header["pixdim"][0] < 0 else 1
        affine[:3, :3] = nib.quaternions.quat2mat(quaternion) * sides_mm(header, unit_mm) * (1, 1, qfac)
    affine[:3, 3] = [unit_mm * float(header[f"qoffset_{letter}"]) for letter in "xyz"]
    return affine


def _from_voxel_size(header: Header, unit_mm: float) -> Affine:
    """As nibabel reads files without an orientation: the first axis points left, the centre is at 0."""
    sides = sides_mm(header, unit_mm)
    affine = np.diag((*sides * (-1, 1, 1), 1.0))
    affine[:3, 3] = sides * (1, -1, -1) * (np.array(header["dim"][1:4], np.float64) - 1) / 2
    return affine
