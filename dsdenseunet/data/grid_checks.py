"""Whether grids are sound and whether two of them are one, from headers alone."""

from __future__ import annotations

import itertools
import math

import numpy as np
from nibabel.orientations import aff2axcodes
from numpy.typing import NDArray

from dsdenseunet.data.nifti import Grid
from dsdenseunet.data.nifti_file import Header

_SIDES_MM = (1e-2, 1e2)
# Cosine between two axes; headers of tilted gantries stay below.
_MOST_SHEAR = 0.05
_SAME_SIDE = 0.01


def axis_codes(grid: Grid) -> str:
    """Where the file's axes point, e.g. "LPS"."""
    return "".join(aff2axcodes(grid.affine))


def distance_voxels(first: Grid, second: Grid) -> float:
    """Most that corners of two canonical grids lie apart, in voxels of the first; inf for other shapes."""
    if first.shape_DHW != second.shape_DHW:
        return math.inf
    apart_mm = np.linalg.norm(_corners_mm(first) - _corners_mm(second), axis=1).max()
    return float(apart_mm / min(first.spacing_mm))


def _corners_mm(grid: Grid) -> NDArray[np.float64]:
    """(8, 3) positions in mm of the canonical array's corner voxels."""
    corners = np.zeros((8, 4))
    corners[:, 3] = 1
    for row, ends in enumerate(itertools.product((0, 1), repeat=3)):
        for end, axis, flip in zip(ends, grid.axis_order, grid.flips, strict=True):
            corners[row, axis] = (grid.shape_IJK[axis] - 1) * (end != flip)
    return (corners @ grid.affine.T)[:, :3]


def is_identity(header: Header) -> bool:
    """Whether the header says 1 x 1 x 1 mm at the origin, as files do that lost their geometry."""
    if not np.allclose(np.abs(np.asarray(header["pixdim"][1:4], np.float64)), 1):
        return False
    if header["sform_code"] > 0:
        return bool(np.allclose(header.get_sform(), np.eye(4)))
    if header["qform_code"] > 0:
        return bool(np.allclose(header.get_qform(), np.eye(4)))
    return True


def affine_faults(header: Header) -> list[str]:
    """What is wrong with the affine that a header states; empty if nothing is."""
    if header["sform_code"] <= 0 and header["qform_code"] <= 0:
        return ["no orientation: neither sform nor qform is set"]
    faults = []
    if header["sform_code"] > 0:
        faults += _faults(np.asarray(header.get_sform(), np.float64), header, "sform")
    if header["qform_code"] > 0:
        try:
            faults += _faults(np.asarray(header.get_qform(), np.float64), header, "qform")
        except (ValueError, ArithmeticError):
            faults.append("the qform's rotation is no rotation")
    return faults


def _faults(affine: NDArray[np.float64], header: Header, name: str) -> list[str]:
    if not np.isfinite(affine).all():
        return [f"the {name} holds NaN or infinity"]
    axes = affine[:3, :3]
    sides = np.linalg.norm(axes, axis=0)
    if sides.min() < _SIDES_MM[0] or sides.max() > _SIDES_MM[1]:
        return [f"the {name} gives voxels of {' x '.join(f'{side:g}' for side in sides)} mm"]
    cosines = np.abs((axes / sides).T @ (axes / sides))[np.triu_indices(3, 1)]
    if cosines.max() > _MOST_SHEAR:
        return [f"the {name}'s axes are not at right angles"]
    stated = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    if not np.allclose(sides, stated, rtol=_SAME_SIDE):
        return [
            f"the {name} gives voxels of {' x '.join(f'{side:g}' for side in sides)} mm, "
            f"the voxel size {' x '.join(f'{side:g}' for side in stated)} mm"
        ]
    return []


def turned_affine(grid: Grid, canonical_axes: tuple[int, ...]) -> NDArray[np.float64]:
    """The affine under which the same stored voxels lie mirrored along some canonical axes."""
    mirror = np.eye(4)
    for canonical in canonical_axes:
        axis = grid.axis_order[canonical]
        mirror[axis, axis], mirror[axis, 3] = -1, grid.shape_IJK[axis] - 1
    return grid.affine @ mirror
