"""How the grid of a prediction differs from that of its scan or its reference, which should be the same."""

from __future__ import annotations

import numpy as np

from dsdenseunet.data.scans.grid import SAME_GRID_VOXELS, distance_voxels
from dsdenseunet.data.scans.nifti import Grid


def differences(grid: Grid, other: Grid) -> list[str]:
    """Names what sets two canonical grids of one shape apart; empty if all corners are within 0.1 voxels.

    Args:
        grid: of the scan or the reference; its smallest voxel side is the measure.
        other: of the prediction.

    Returns:
        of "place", "voxel size" and "directions" those that alone move a corner by more than 0.1 voxels, or
        "place" if they only do together.

    Raises:
        ValueError: the canonical shapes differ.
    """
    if grid.shape_DHW != other.shape_DHW:
        raise ValueError(f"shapes differ: {grid.shape_DHW}, {other.shape_DHW}")
    if distance_voxels(grid, other) <= SAME_GRID_VOXELS:
        return []
    within_mm = SAME_GRID_VOXELS * min(grid.spacing_mm)
    steps = np.array(grid.shape_DHW) - 1
    starts, axes = zip(*(_canonical(one) for one in (grid, other)), strict=True)
    sides = [np.linalg.norm(vectors, axis=0) for vectors in axes]
    apart_mm = {
        "place": np.linalg.norm(starts[0] - starts[1]),
        "voxel size": (np.abs(sides[0] - sides[1]) * steps).max(),
        "directions": (
            np.linalg.norm(axes[0] / sides[0] - axes[1] / sides[1], axis=0) * sides[0] * steps
        ).max(),
    }
    return [name for name, distance in apart_mm.items() if distance > within_mm] or ["place"]


def _canonical(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Position of the canonical array's first voxel, mm, and (3, 3) a column a step along D, H, W, mm."""
    signs = np.where(grid.flips, -1, 1)
    first = np.zeros(3)
    for axis, flip in zip(grid.axis_order, grid.flips, strict=True):
        first[axis] = (grid.shape_IJK[axis] - 1) * flip
    turn = grid.affine[:3, :3]
    return turn @ first + grid.affine[:3, 3], turn[:, grid.axis_order] * signs
