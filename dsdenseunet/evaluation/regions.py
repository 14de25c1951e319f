"""Scores of one case, region by region, of any task."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.data.boxes import bounding_box
from dsdenseunet.evaluation import components, overlap, surface, volumes
from dsdenseunet.evaluation.overlap import Counts
from dsdenseunet.tasks.task import Task

REGIONS = "regions"
TOLERANCES_MM = (1, 2, 3)
EMPTY = "empty on one side or both: its distances are undefined and left out"


@dataclasses.dataclass(frozen=True)
class Pieces:
    """Connected pieces (6-connected) of a region: one that shares a voxel with the other side is found.

    Attributes:
        hit_ml: for each piece of the reference the volume of the largest predicted one that it touches; 0 if
            it is missed.
        true_ml: volumes of the predicted pieces that touch the reference.
        false_ml: volumes of the others.
    """

    hit_ml: tuple[float, ...]
    true_ml: tuple[float, ...]
    false_ml: tuple[float, ...]

    @property
    def found(self) -> int:
        """Pieces of the reference that are touched."""
        return sum(volume > 0 for volume in self.hit_ml)

    @property
    def counts(self) -> dict[str, int]:
        """How many there are, by the names of cases.csv."""
        return {
            "found": self.found,
            "missed": len(self.hit_ml) - self.found,
            "true_prediction": len(self.true_ml),
            "false_prediction": len(self.false_ml),
        }


@dataclasses.dataclass(frozen=True)
class RegionScore:
    """Scores of one region.

    Attributes:
        counts: voxels of both sides.
        dice: both sides empty give 1, one gives 0.
        surface_dice: at 1, 2 and 3 mm; empty sides as for Dice.
        hd95_mm: the larger of the two sides' 95th percentiles of surface distances; None with an empty side.
        assd_mm: average symmetric surface distance; None with an empty side.
        prediction_ml: volume.
        reference_ml: volume.
        pieces: connected pieces, where the task detects them.
    """

    counts: Counts
    dice: float
    surface_dice: tuple[float, ...]
    hd95_mm: float | None
    assd_mm: float | None
    prediction_ml: float
    reference_ml: float
    pieces: Pieces | None


@dataclasses.dataclass(frozen=True)
class TaskScore:
    """All regions of one case.

    Attributes:
        regions: scores by region.
        spacing_mm: along the axes of the scored arrays.
        marks: what a reader must know about this case.
        turned: whether the prediction was turned onto the reference's axes before it was compared.
    """

    regions: dict[str, RegionScore]
    spacing_mm: tuple[float, ...]
    marks: tuple[str, ...] = ()
    turned: bool = False

    def to_json(self) -> dict[str, Any]:
        """As plain types, for `from_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TaskScore:
        """The inverse of `to_json`."""
        regions = {}
        for name, fields in value["regions"].items():
            pieces = fields["pieces"]
            regions[name] = RegionScore(
                **{
                    **fields,
                    "counts": Counts(**fields["counts"]),
                    "surface_dice": tuple(fields["surface_dice"]),
                    "pieces": pieces and Pieces(**{side: tuple(ml) for side, ml in pieces.items()}),
                }
            )
        return cls(regions, tuple(value["spacing_mm"]), tuple(value["marks"]), bool(value["turned"]))


def score_task(
    prediction: NDArray[np.integer], reference: NDArray[np.integer], spacing_mm: Sequence[float], task: Task
) -> TaskScore:
    """Scores one prediction.

    Args:
        prediction: label volume, three axes.
        reference: label volume of the same shape; where it has the task's `ignore_label` nothing counts.
        spacing_mm: voxel spacing in mm, one number per axis of the arrays.
        task: whose regions are scored.

    Raises:
        ValueError: shapes differ or there are not three axes.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"shapes differ: prediction {prediction.shape}, reference {reference.shape}")
    if prediction.ndim != 3 or len(spacing_mm) != 3:
        raise ValueError(f"expected three axes, got shape {prediction.shape}, spacing {spacing_mm}")
    ignored = reference == task.ignore_label
    box = bounding_box(((prediction > 0) | (reference > 0)) & ~ignored) or (slice(0, 1),) * 3
    counted = ~ignored[box]
    scores = {}
    for region in task.regions:
        mine, truth = (region.mask(labels[box]) & counted for labels in (prediction, reference))
        scores[region.name] = _score(mine, truth, spacing_mm, region.name in task.detect)
    empty = [name for name, score in scores.items() if score.assd_mm is None]
    return TaskScore(scores, tuple(map(float, spacing_mm)), tuple(f"{name} {EMPTY}" for name in empty))


def _score(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], spacing_mm: Sequence[float], detect: bool
) -> RegionScore:
    counts = overlap.count(prediction, reference)
    distances = surface.measure(prediction, reference, spacing_mm)
    if distances is None:
        near = (0.0 if counts.prediction or counts.reference else 1.0,) * len(TOLERANCES_MM)
    else:
        near = tuple(distances.surface_dice(tolerance) for tolerance in TOLERANCES_MM)
    return RegionScore(
        counts=counts,
        dice=overlap.dice(counts),
        surface_dice=near,
        hd95_mm=distances.hd95 if distances else None,
        assd_mm=distances.assd if distances else None,
        prediction_ml=volumes.millilitres(counts.prediction, spacing_mm),
        reference_ml=volumes.millilitres(counts.reference, spacing_mm),
        pieces=pieces(prediction, reference, spacing_mm) if detect else None,
    )


def pieces(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> Pieces:
    """The connected pieces of two masks of one shape, and which of them meet.

    Args:
        prediction: mask, three axes.
        reference: mask.
        spacing_mm: along the axes.
    """
    mine, truth = components.find_components(prediction), components.find_components(reference)
    volumes_ml = [volumes.millilitres(int(size), spacing_mm) for size in mine.sizes]
    hit_ml, touching = [0.0] * truth.count, set()
    for predicted, piece in components.count_overlaps(mine, truth):
        touching.add(predicted)
        hit_ml[piece - 1] = max(hit_ml[piece - 1], volumes_ml[predicted - 1])
    return Pieces(
        tuple(hit_ml),
        tuple(volume for number, volume in enumerate(volumes_ml, 1) if number in touching),
        tuple(volume for number, volume in enumerate(volumes_ml, 1) if number not in touching),
    )
