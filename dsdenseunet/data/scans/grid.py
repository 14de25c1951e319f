"""Where a canonical array lies in the file that it was read from, and the way back."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
from nibabel.orientations import aff2axcodes, io_orientation
from numpy.typing import NDArray

from dsdenseunet.data.scans import header_grid
from dsdenseunet.data.scans.stored_volume import Header, StoredVolume

Spacing = tuple[float, float, float]
# An axis at exactly 45 degrees runs along two of the world's alike. Which of them it counts for must not hang
# on a header's last bits, which are others in what is written for the same grid.
_DIGITS_MM = 6
# Headers hold 32-bit numbers: grids that lie a tenth of a voxel apart do not differ by rounding alone.
SAME_GRID_VOXELS = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """Where a canonical (D, H, W) array lies in the file it was read from.

    Attributes:
        shape_IJK: sides in the file's own order.
        affine: (4, 4), voxel (i, j, k) to mm, as `header_grid.place` reads it.
        header: the file's header, as read.
        axis_order: for each canonical axis D, H, W the file's axis that it is.
        flips: for each canonical axis, whether its index runs against the file's.
        marks: what was read under an assumption, a sentence each; empty for a sound file. Every command
            shows them beside the case.
        series: UIDs of the DICOM series that it was read from, or made from; empty where none is known.
    """

    shape_IJK: tuple[int, int, int]
    affine: np.ndarray
    header: Header
    axis_order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    marks: tuple[str, ...] = ()
    series: tuple[str, ...] = ()

    @property
    def shape_DHW(self) -> tuple[int, int, int]:  # noqa: N802
        """Sides in canonical order."""
        d, h, w = (self.shape_IJK[axis] for axis in self.axis_order)
        return d, h, w

    @property
    def spacing_mm(self) -> Spacing:
        """Voxel sides in canonical order."""
        sides = np.linalg.norm(self.affine[:3, :3], axis=0)
        d, h, w = (float(sides[axis]) for axis in self.axis_order)
        return d, h, w

    def to_canonical(self, array_IJK: np.ndarray) -> np.ndarray:
        """The same voxels as a canonical (D, H, W) view."""
        turned = array_IJK.transpose(self.axis_order)
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def from_canonical(self, array_DHW: np.ndarray) -> np.ndarray:
        """Inverse of `to_canonical`; a fourth axis, of channels, stays the last one."""
        flipped = array_DHW[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]
        return flipped.transpose((*np.argsort(self.axis_order), *range(3, flipped.ndim)))


@dataclasses.dataclass(frozen=True, eq=False)
class Volume:
    """A volume in canonical form.

    Attributes:
        array_DHW: int16 or float32 intensities, (D, H, W, channel) where there are several channels; or uint8
            labels; contiguous.
        spacing_mm: voxel sides in the same order.
        grid: the way back to the file.
    """

    array_DHW: np.ndarray
    spacing_mm: Spacing
    grid: Grid


def grid_of(stored: StoredVolume) -> Grid:
    """The grid that a header describes.

    Raises:
        InputError: a header from which no voxel size can be read.
    """
    placement = header_grid.place(stored.header, stored.path)
    order, flips = orientation(io_orientation(np.round(placement.affine, _DIGITS_MM)))
    marks = (*(note.text for note in placement.notes), *stored.marks)
    return Grid(stored.shape_IJK, placement.affine, stored.header, order, flips, marks, stored.series)


def orientation(ornt: np.ndarray) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Axis order and flips from nibabel's table: a row a file axis, (world axis, direction)."""
    axes = {2 - int(world): (axis, bool(sign < 0)) for axis, (world, sign) in enumerate(ornt)}
    return (axes[0][0], axes[1][0], axes[2][0]), (axes[0][1], axes[1][1], axes[2][1])


def axis_codes(grid: Grid) -> str:
    """Where the file's axes point, e.g. "LPS"."""
    return "".join(aff2axcodes(grid.affine))


def distance_voxels(first: Grid, second: Grid) -> float:
    """The largest distance between corners of two canonical grids, in voxels of the first, or inf."""
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
