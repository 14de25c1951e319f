"""Overlap of two binary masks: Dice, Jaccard, VOE and volume difference, from voxel counts.

Formulas, units and what empty masks give are defined in docs/reference/metrics.md.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Counts:
    """Voxels of the prediction, of the reference and of both."""

    prediction: int
    reference: int
    intersection: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.prediction + other.prediction,
            self.reference + other.reference,
            self.intersection + other.intersection,
        )


def count(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> Counts:
    """Counts the voxels of two binary masks of one shape."""
    return Counts(
        int(np.count_nonzero(prediction)),
        int(np.count_nonzero(reference)),
        int(np.count_nonzero(prediction & reference)),
    )


def dice(counts: Counts) -> float:
    """Dice coefficient 2 |A and B| / (|A| + |B|); both empty give 1, one empty gives 0."""
    total = counts.prediction + counts.reference
    return 2 * counts.intersection / total if total else 1.0


def jaccard(counts: Counts) -> float:
    """Jaccard index |A and B| / |A or B|; both empty give 1, one empty gives 0."""
    union = counts.prediction + counts.reference - counts.intersection
    return counts.intersection / union if union else 1.0
