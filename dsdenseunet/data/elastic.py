"""Random smooth displacements of a patch's voxels: a cubic B-spline through random control points.

Random numbers are drawn on the host; the displacements are computed there by NumPy or on a device by JAX, by
the same code: `xp` is either module.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from dsdenseunet.data.chance import Chance

Axes = tuple[float, float, float]
# Control points are moved by at most so many deviations, so that there is a box that holds all samples.
_LARGEST = 3.0
# A cubic B-spline reaches two control points to either side.
_DEGREE = 3


@dataclasses.dataclass(frozen=True)
class Elastic:
    """Which displacements are made.

    Attributes:
        deviation: of a control point's displacement along each axis, in mm, drawn for each patch.
        distance: between neighbouring control points along D, H and W, in voxels of the patch.
    """

    deviation: Chance
    distance: Axes

    @classmethod
    def of(cls, augment: Mapping[str, Any]) -> Elastic:
        """From `config.augment`."""
        d, h, w = augment["elastic"]["distance"]
        return cls(Chance.of(augment["elastic"], 0.0), (d, h, w))

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.deviation)

    def draw(
        self, rng: np.random.Generator, patch_size: Sequence[int], spacing_mm: Sequence[float]
    ) -> np.ndarray:
        """Displacements (control points of D, H, W, 3) of one patch, float32, in voxels of the volume."""
        points = [_points(side, distance) for side, distance in zip(patch_size, self.distance)]
        deviation = self.deviation.draw(rng)
        drawn = np.clip(rng.standard_normal((*points, 3)), -_LARGEST, _LARGEST)
        return (drawn * (deviation / np.asarray(spacing_mm, np.float64))).astype(np.float32)

    def reach(self, spacing_mm: Sequence[float] | np.ndarray) -> np.ndarray:
        """(3,): the voxels of the volume by which a sample is moved at most along D, H and W."""
        largest = _LARGEST * self.deviation.high if self else 0.0
        return largest / np.asarray(spacing_mm, np.float64)

    def displacement(self, xp: ModuleType, points: Any, patch_size: Sequence[int]) -> Any:
        """(D, H, W, 3): how far each voxel of a patch is moved, by what `draw` gave."""
        for axis, (side, distance) in enumerate(zip(patch_size, self.distance)):
            points = xp.moveaxis(xp.tensordot(_basis(side, distance), points, (1, axis)), 0, axis)
        return points


def _points(side: int, distance: float) -> int:
    """Control points along an axis: each voxel lies between the second and the third of four."""
    return math.floor((side - 1) / distance) + 1 + _DEGREE


def _basis(side: int, distance: float) -> np.ndarray:
    """(side, control points) float32: the share that each control point has in each voxel; rows sum to 1."""
    places = np.arange(side) / distance
    first = np.floor(places).astype(int)
    t = places - first
    shares = (
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    )
    basis = np.zeros((side, _points(side, distance)), np.float32)
    for number, share in enumerate(shares):
        basis[np.arange(side), first + number] = share
    return basis
