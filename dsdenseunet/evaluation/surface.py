"""Distances between the surfaces of two masks, in millimetres.

A surface voxel is one of the mask that has a voxel outside the mask (or the volume's edge) among its 18
neighbours. Formulas are defined in docs/reference/metrics.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import edt
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dsdenseunet.data.boxes import bounding_box

# Above this a search tree costs more memory than a distance map of the box; the map is float32, so
# distances then carry a relative error of 1e-7.
MOST_TREE_POINTS = 3_000_000
# A distance that exceeds a tolerance by rounding alone is within it: coordinates are rounded by their place,
# the map by 1e-7, and headers hold spacings as 32-bit numbers.
_ROUNDING = 1e-5


@dataclasses.dataclass(frozen=True)
class SurfaceDistances:
    """Distance in mm of each surface voxel of one mask to the other mask's surface.

    Attributes:
        from_prediction: (surface voxels of the prediction,) float64, mm.
        from_reference: (surface voxels of the reference,) float64, mm.
    """

    from_prediction: NDArray[np.float64]
    from_reference: NDArray[np.float64]

    @property
    def assd(self) -> float:
        """Average symmetric surface distance, mm."""
        return float(self.from_prediction.sum() + self.from_reference.sum()) / self._count

    @property
    def rmsd(self) -> float:
        """Root mean square symmetric surface distance, mm."""
        squares = np.square(self.from_prediction).sum() + np.square(self.from_reference).sum()
        return float(np.sqrt(squares / self._count))

    @property
    def mssd(self) -> float:
        """Maximum symmetric surface distance (Hausdorff), mm."""
        return float(max(self.from_prediction.max(), self.from_reference.max()))

    @property
    def hd95(self) -> float:
        """Larger of the two sides' 95th percentiles, mm."""
        sides = (self.from_prediction, self.from_reference)
        return float(max(np.percentile(distances, 95) for distances in sides))

    def surface_dice(self, tolerance_mm: float) -> float:
        """Share of both surfaces' voxels that lie within `tolerance_mm` of the other surface."""
        within_mm = tolerance_mm * (1 + _ROUNDING)
        near = np.count_nonzero(self.from_prediction <= within_mm)
        near += np.count_nonzero(self.from_reference <= within_mm)
        return near / self._count

    @property
    def _count(self) -> int:
        return len(self.from_prediction) + len(self.from_reference)


def surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Surface voxels of a 3D mask: the mask without its erosion by the 18-neighbour element."""
    # The element is the union of the 3 x 3 squares of the three planes, and each square is two
    # line erosions: 12 passes instead of 18.
    rows = _erode_line(mask, 0)
    eroded = _erode_line(rows, 1)
    eroded &= _erode_line(rows, 2)
    eroded &= _erode_line(_erode_line(mask, 1), 2)
    return mask & ~eroded


def measure(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> SurfaceDistances | None:
    """Distances between the surfaces of two 3D masks of one shape; None if either is empty.

    Args:
        prediction: bool mask.
        reference: bool mask.
        spacing_mm: voxel spacing in mm, one number per axis of the masks.
    """
    box = bounding_box(prediction | reference)
    if box is None:
        return None
    prediction_surface, reference_surface = surface(prediction[box]), surface(reference[box])
    if not prediction_surface.any() or not reference_surface.any():
        return None
    return SurfaceDistances(
        from_prediction=_distances(prediction_surface, reference_surface, spacing_mm),
        from_reference=_distances(reference_surface, prediction_surface, spacing_mm),
    )


def _erode_line(mask: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Erosion by three voxels along one axis; outside the volume is background."""
    eroded = mask.copy()
    moved, source = np.moveaxis(eroded, axis, 0), np.moveaxis(mask, axis, 0)
    moved[1:] &= source[:-1]
    moved[:-1] &= source[1:]
    moved[0] = False
    moved[-1] = False
    return eroded


def _distances(
    origin: NDArray[np.bool_], target: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> NDArray[np.float64]:
    spacing = np.asarray(spacing_mm, np.float64)
    distances = np.zeros(np.count_nonzero(origin), np.float64)
    if np.count_nonzero(target) > MOST_TREE_POINTS:
        to_target = edt.edt(~target, anisotropy=tuple(spacing), black_border=False, parallel=1)
        distances[:] = to_target[origin]
        return distances
    apart = ~target[origin]
    if apart.any():
        tree = cKDTree(np.argwhere(target) * spacing, balanced_tree=False, compact_nodes=False)
        distances[apart], _ = tree.query(np.argwhere(origin & ~target) * spacing)
    return distances
