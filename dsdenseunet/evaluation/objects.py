"""Scores of one object, a liver or a lesion, that prediction and reference both hold."""

from __future__ import annotations

import dataclasses

from dsdenseunet.evaluation import overlap
from dsdenseunet.evaluation.surface import SurfaceDistances

# The value that stands for infinity in the challenge's scorer.
LARGE = 9001.0
NAMES = ("dice", "jaccard", "voe", "rvd", "assd", "rmsd", "msd")


@dataclasses.dataclass(frozen=True)
class ObjectScore:
    """Scores of one object; None where one is not defined.

    Attributes:
        dice: Dice coefficient.
        jaccard: Jaccard index.
        voe: volumetric overlap error, 1 - Jaccard.
        rvd: relative volume difference, signed; which way round depends on the mode.
        assd: average symmetric surface distance, mm.
        rmsd: root mean square symmetric surface distance, mm.
        msd: maximum symmetric surface distance, mm.
    """

    dice: float
    jaccard: float
    voe: float
    rvd: float | None
    assd: float | None
    rmsd: float | None
    msd: float | None


OFFICIAL_MISSING = ObjectScore(0.0, 0.0, 1.0, LARGE, LARGE, LARGE, LARGE)


def score_official(counts: overlap.Counts, distances: SurfaceDistances | None) -> ObjectScore:
    """Scores as the challenge's scorer has them; an empty side gives its stand-in for infinity."""
    if distances is None:
        return OFFICIAL_MISSING
    return _score(counts, distances, (counts.reference - counts.prediction) / counts.prediction)


def score_corrected(counts: overlap.Counts, distances: SurfaceDistances | None) -> ObjectScore:
    """Scores with the usual volume difference; what an empty side leaves undefined is None."""
    rvd = (counts.prediction - counts.reference) / counts.reference if counts.reference else None
    return _score(counts, distances, rvd)


def _score(counts: overlap.Counts, distances: SurfaceDistances | None, rvd: float | None) -> ObjectScore:
    jaccard = overlap.jaccard(counts)
    return ObjectScore(
        dice=overlap.dice(counts),
        jaccard=jaccard,
        voe=1.0 - jaccard,
        rvd=rvd,
        assd=distances.assd if distances else None,
        rmsd=distances.rmsd if distances else None,
        msd=distances.mssd if distances else None,
    )
