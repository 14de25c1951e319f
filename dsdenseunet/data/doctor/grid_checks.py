"""How grids lie to each other, and how one is turned."""

from __future__ import annotations

import itertools
import math

import numpy as np
from nibabel.orientations import aff2axcodes
from numpy.typing import NDArray

from dsdenseunet.data.scans.nifti import Grid


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


def turned_affine(grid: Grid, canonical_axes: tuple[int, ...]) -> NDArray[np.float64]:
    """The affine under which the same stored voxels lie mirrored along some canonical axes."""
    mirror = np.eye(4)
    for canonical in canonical_axes:
        axis = grid.axis_order[canonical]
        mirror[axis, axis], mirror[axis, 3] = -1, grid.shape_IJK[axis] - 1
    return grid.affine @ mirror
