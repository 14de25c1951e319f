"""Which lesions are detected: groups of touching lesions, and both modes' way of counting them.

A lesion is a 6-connected component of label 2. Reference lesions bridged by one predicted lesion are
merged, then predicted lesions that share a (merged) reference lesion; a group counts at an overlap above
a threshold. Both modes share the groups and differ in how they count (docs/reference/metrics.md).
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

# Strict lower bounds of the intersection over union at which lesions count as detected.
THRESHOLDS = (0.0, 0.5)
# The challenge's scorer stores the numbers of matched lesions in 8 bits.
OFFICIAL_LABELS = 256


@dataclasses.dataclass(frozen=True)
class Group:
    """Reference lesions and the predicted lesions matched to them (none: nothing matched).

    Attributes:
        references: ids of the merged reference lesions, ascending.
        predictions: ids of the merged predicted lesions, ascending.
        intersection: voxels that both sides share.
        union: voxels of either side.
    """

    references: tuple[int, ...]
    predictions: tuple[int, ...]
    intersection: int
    union: int

    @property
    def iou(self) -> float:
        """Intersection over union of the group's two sides."""
        return self.intersection / self.union


@dataclasses.dataclass(frozen=True)
class Overlaps:
    """Sizes of both masks' lesions and their shared voxels; ids start at 1.

    Attributes:
        prediction_sizes: voxels of each predicted lesion.
        reference_sizes: voxels of each reference lesion.
        shared: voxels of each overlapping pair (prediction id, reference id).
    """

    prediction_sizes: NDArray[np.int64]
    reference_sizes: NDArray[np.int64]
    shared: dict[tuple[int, int], int]

    def intersection(self, predictions: tuple[int, ...], references: tuple[int, ...]) -> int:
        """Voxels that the unions of two sets of lesions share."""
        return sum(self.shared.get((p, r), 0) for p in predictions for r in references)

    def union(self, predictions: tuple[int, ...], references: tuple[int, ...]) -> int:
        """Voxels in either of the unions of two sets of lesions."""
        total = sum(int(self.prediction_sizes[p - 1]) for p in predictions)
        total += sum(int(self.reference_sizes[r - 1]) for r in references)
        return total - self.intersection(predictions, references)


@dataclasses.dataclass(frozen=True)
class Detection:
    """Counted lesions of one case at one threshold.

    In `official` mode both true positives are the same number, which can be negative; in `corrected`
    mode each is a count of lesions, of the reference and of the prediction.
    """

    threshold: float
    true_reference: int
    true_prediction: int
    false_positive: int
    false_negative: int


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What one mode decides about one group at the threshold 0.5.

    Attributes:
        group: the lesions.
        iou: the overlap that the mode compares with the threshold.
        detected: whether the group survives it.
        counted: what the group adds to the reference's true positives.
    """

    group: Group
    iou: float
    detected: bool
    counted: int


def find_groups(overlaps: Overlaps, *, by_scan_order: bool) -> list[Group]:
    """Merges and matches lesions; every reference lesion is in exactly one group.

    A reference lesion belongs to the prediction that covers most of it; a prediction goes to the merged
    reference that it covers most.

    Args:
        overlaps: sizes and shared voxels.
        by_scan_order: equal overlaps go to the lesion that the scan meets first (official); otherwise
            to the smaller one first, which doesn't change when the volume is turned.
    """
    of_reference: dict[int, list[int]] = defaultdict(list)
    for p, r in sorted(overlaps.shared):
        of_reference[r].append(p)

    def prediction_rank(p: int, r: int) -> tuple[int, int, int]:
        size = 0 if by_scan_order else int(overlaps.prediction_sizes[p - 1])
        return -overlaps.shared[p, r], size, p

    merged: dict[int, list[int]] = defaultdict(list)
    alone = []
    for r in range(1, len(overlaps.reference_sizes) + 1):
        if r in of_reference:
            merged[min(of_reference[r], key=lambda p: prediction_rank(p, r))].append(r)
        else:
            alone.append((r,))
    sides = [tuple(members) for members in merged.values()]
    side_of = {r: side for side in sides for r in side}
    covered: dict[int, dict[tuple[int, ...], int]] = defaultdict(lambda: defaultdict(int))
    for (p, r), voxels in overlaps.shared.items():
        covered[p][side_of[r]] += voxels

    def side_rank(p: int, side: tuple[int, ...]) -> tuple[int, int, int]:
        size = 0 if by_scan_order else sum(int(overlaps.reference_sizes[r - 1]) for r in side)
        return -covered[p][side], size, side[0]

    matched: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for p in sorted(covered):
        matched[min(covered[p], key=lambda side: side_rank(p, side))].append(p)
    groups = []
    for side in sorted([*sides, *alone]):
        predictions = tuple(matched.get(side, ()))
        groups.append(
            Group(
                references=side,
                predictions=predictions,
                intersection=overlaps.intersection(predictions, side),
                union=overlaps.union(predictions, side),
            )
        )
    return groups


def judge_official(overlaps: Overlaps, groups: list[Group], threshold: float) -> list[Verdict]:
    """The challenge scorer's decisions, faults included, about the groups that have a prediction.

    After matching, it marks matched predictions with their reference's number, yet looks them up with
    the old number of the first prediction; a group that fails is erased before the next is looked at.
    """
    marks = {p: group.references[0] % OFFICIAL_LABELS for group in groups for p in group.predictions}
    verdicts = []
    for group in sorted((g for g in groups if g.predictions), key=lambda g: g.predictions[0]):
        looked_up = tuple(p for p, mark in marks.items() if mark == group.predictions[0])
        iou = group.intersection / overlaps.union(looked_up, group.references)
        detected = iou > threshold
        if not detected:
            for p, mark in marks.items():
                if mark == group.references[0]:
                    marks[p] = 0
        # Counted once when it is matched, and taken away once for each merged lesion.
        counted = 1 if detected else 1 - len(group.references)
        verdicts.append(Verdict(group, iou, detected, counted))
    return verdicts


def judge_corrected(groups: list[Group], threshold: float) -> list[Verdict]:
    """Decisions by each group's own overlap; a detected group counts all its reference lesions."""
    return [
        Verdict(group, group.iou, group.iou > threshold, len(group.references) * (group.iou > threshold))
        for group in groups
        if group.predictions
    ]


def detect_official(overlaps: Overlaps, verdicts: list[Verdict], threshold: float) -> Detection:
    """Counts as the challenge's scorer does: every group once, for both sides."""
    counted = sum(verdict.counted for verdict in verdicts)
    return _detection(overlaps, threshold, counted, counted)


def detect_corrected(overlaps: Overlaps, verdicts: list[Verdict], threshold: float) -> Detection:
    """Counts lesions of each side; at threshold 0 any shared voxel counts, whatever the groups are."""
    if threshold == 0.0:
        true_prediction = len({p for p, _ in overlaps.shared})
        true_reference = len({r for _, r in overlaps.shared})
    else:
        true_prediction = sum(len(v.group.predictions) for v in verdicts if v.detected)
        true_reference = sum(v.counted for v in verdicts)
    return _detection(overlaps, threshold, true_reference, true_prediction)


def _detection(overlaps: Overlaps, threshold: float, true_reference: int, true_prediction: int) -> Detection:
    """What is not true on a side is false on it."""
    return Detection(
        threshold=threshold,
        true_reference=true_reference,
        true_prediction=true_prediction,
        false_positive=len(overlaps.prediction_sizes) - true_prediction,
        false_negative=len(overlaps.reference_sizes) - true_reference,
    )


def official_objects(overlaps: Overlaps, groups: list[Group], verdicts: list[Verdict]) -> list[Group]:
    """The objects whose masks the challenge's scorer compares: what is left after erasing.

    They are the detected groups, unless there are 256 or more reference lesions: numbers are then
    kept modulo 256 on the prediction's side only, and objects mix or lose their reference.
    """
    erased = {
        verdict.group.references[0]
        for verdict in verdicts
        if not verdict.detected and verdict.group.references[0] < OFFICIAL_LABELS
    }
    predictions: dict[int, list[int]] = defaultdict(list)
    for group in groups:
        predictions[group.references[0] % OFFICIAL_LABELS].extend(group.predictions)
    references = {group.references[0]: group.references for group in groups}
    objects = []
    for label, members in sorted(predictions.items()):
        if label == 0 or label in erased or not members:
            continue
        ids, side = tuple(sorted(members)), references.get(label, ())
        objects.append(Group(side, ids, overlaps.intersection(ids, side), overlaps.union(ids, side)))
    return objects
