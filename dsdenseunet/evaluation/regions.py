"""Scores of one case, region by region, of any task."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.evaluation import components, overlap, surface, volumes
from dsdenseunet.evaluation.overlap import Counts
from dsdenseunet.tasks.task import Task

REGIONS = "regions"
TOLERANCES_MM = (1, 2, 3)
EMPTY = "empty on one side or both: its distances are undefined and left out"


@dataclasses.dataclass(frozen=True)
class Pieces:
    """Connected pieces (6-connected) of a region: one that shares a voxel with the other side is found."""

    found: int
    missed: int
    true_prediction: int
    false_prediction: int


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
                    "pieces": None if pieces is None else Pieces(**pieces),
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
    box = components.bounding_box(((prediction > 0) | (reference > 0)) & ~ignored) or (slice(0, 1),) * 3
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
        pieces=_pieces(prediction, reference) if detect else None,
    )


def _pieces(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> Pieces:
    mine, truth = components.find_components(prediction), components.find_components(reference)
    pairs = components.count_overlaps(mine, truth)
    touching, touched = {p for p, _ in pairs}, {r for _, r in pairs}
    return Pieces(len(touched), truth.count - len(touched), len(touching), mine.count - len(touching))
