"""Boxes that hold all of something: a slice for each axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]


def bounding_box(mask: NDArray[np.bool_]) -> Box | None:
    """The smallest box that holds all of a mask (None: empty); what is outside of it costs no memory."""
    slices = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        where = np.flatnonzero(mask.any(axis=others))
        if not len(where):
            return None
        slices.append(slice(int(where[0]), int(where[-1]) + 1))
    return tuple(slices)


def grown(box: Box, margin_mm: float, shape: Sequence[int], spacing_mm: Sequence[float] | None) -> Box:
    """A box with a margin on each side, in whole voxels, as far as the volume goes.

    Args:
        box: within the volume.
        margin_mm: at least so much is added.
        shape: the volume's (D, H, W).
        spacing_mm: between its voxels (D, H, W); needed where there is a margin.

    Raises:
        ValueError: a margin, and no spacing.
    """
    if margin_mm and spacing_mm is None:
        raise ValueError(f"a margin of {margin_mm} mm: spacing_mm must be given")
    return tuple(
        slice(max(part.start - more, 0), min(part.stop + more, size))
        for part, size, mm in zip(box, shape, spacing_mm or (1.0, 1.0, 1.0), strict=True)
        for more in [math.ceil(margin_mm / mm)]
    )
