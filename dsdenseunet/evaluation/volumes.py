"""Volumes in millilitres, equivalent diameters and tumour burden."""

from __future__ import annotations

import math
from collections.abc import Sequence

MM3_PER_ML = 1000.0


def millilitres(voxels: int, spacing_mm: Sequence[float]) -> float:
    """Volume of a number of voxels in mL, for a spacing in mm."""
    return voxels * math.prod(spacing_mm) / MM3_PER_ML


def equivalent_diameter_mm(volume_ml: float) -> float:
    """Diameter in mm of the sphere of the given volume in mL."""
    return float((6 * volume_ml * MM3_PER_ML / math.pi) ** (1 / 3))


def tumour_burden(tumour_voxels: int, liver_voxels: int) -> float:
    """Share of the liver (tumour included) that is tumour; 0 without liver."""
    return tumour_voxels / liver_voxels if liver_voxels else 0.0
