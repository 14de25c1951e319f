"""Scores of one case in either mode.

`official` gives what the challenge's public scorer gives, faults included; `corrected` repairs each
fault. Every rule is stated in docs/reference/metrics.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.evaluation import causes, lesions, objects, overlap, volumes
from dsdenseunet.evaluation.case import CORRECTED, MODES, OFFICIAL, CaseScore
from dsdenseunet.evaluation.overlap import Counts
from dsdenseunet.evaluation.pair import Pair
from dsdenseunet.evaluation.surface import SurfaceDistances

TOLERANCES_MM = (1, 2, 3)
# The challenge's scorer numbers components with signed 16 bits.
OFFICIAL_COMPONENTS = 32767

NO_TUMOUR = "reference without tumour: the original scorer crashes in its lesion detection"
NO_LIVER = "reference without liver: the original scorer divides by zero in its tumour burden"
NO_LABEL_1 = "prediction without a voxel of label 1: its liver counts as missing"
MANY_COMPONENTS = "more than 32767 lesions on a side: the original scorer refuses to number them"
MANY_LESIONS = "256 or more reference lesions: the original scorer confuses their numbers"
LIVER_UNDEFINED = "liver empty on one side or both: its distances are undefined and left out"


def score_case(
    prediction: NDArray[np.integer],
    reference: NDArray[np.integer],
    spacing_mm: Sequence[float],
    mode: str = CORRECTED,
) -> CaseScore:
    """Scores one prediction in one mode.

    Args:
        prediction: label volume (0 background, 1 liver, 2 tumour), three axes in any order. The official
            mode's faults depend on the order; the challenge's is that of the file.
        reference: label volume of the same shape.
        spacing_mm: voxel spacing in mm, one number per axis of the arrays.
        mode: "official" or "corrected".

    Raises:
        ValueError: shapes differ, not three axes, or no such mode.
    """
    return score_modes(prediction, reference, spacing_mm, (mode,))[mode]


def score_modes(
    prediction: NDArray[np.integer],
    reference: NDArray[np.integer],
    spacing_mm: Sequence[float],
    modes: Sequence[str] = MODES,
) -> dict[str, CaseScore]:
    """Scores one prediction in several modes; arguments and errors as for `score_case`."""
    if not set(modes) <= set(MODES):
        raise ValueError(f"no such mode in {modes}; there are {MODES}")
    pair = Pair(prediction, reference, spacing_mm)
    official_groups = lesions.find_groups(pair.overlaps, by_scan_order=True)
    corrected_groups = lesions.find_groups(pair.overlaps, by_scan_order=False)
    records = causes.explain(pair, official_groups, corrected_groups)
    scores = {}
    if OFFICIAL in modes:
        scores[OFFICIAL] = _score_official(pair, official_groups, records[OFFICIAL])
    if CORRECTED in modes:
        scores[CORRECTED] = _score_corrected(pair, corrected_groups, records[CORRECTED])
    return scores


def _score_official(
    pair: Pair, groups: list[lesions.Group], records: tuple[causes.LesionRecord, ...]
) -> CaseScore:
    liver_counts, tumour_counts = pair.liver_counts, pair.tumour_counts
    detection = []
    for threshold in lesions.THRESHOLDS:
        verdicts = lesions.judge_official(pair.overlaps, groups, threshold)
        detection.append(lesions.detect_official(pair.overlaps, verdicts, threshold))
    # Its own count, wrong as it may be, decides whether any lesion is scored.
    compared = []
    if detection[-1].true_reference > 0:
        compared = lesions.official_objects(pair.overlaps, groups, verdicts)
    if pair.has_plain_liver:
        liver = objects.score_official(liver_counts, pair.liver_distances)
        liver_dice = overlap.dice(liver_counts)
        global_liver = liver_counts
    else:
        liver, liver_dice = objects.OFFICIAL_MISSING, 0.0
        global_liver = Counts(0, liver_counts.reference, 0)
    lesion_counts = (pair.predicted_lesions.count, pair.reference_lesions.count)
    marks = {
        NO_TUMOUR: not tumour_counts.reference,
        NO_LIVER: not liver_counts.reference,
        NO_LABEL_1: not pair.has_plain_liver,
        MANY_COMPONENTS: max(lesion_counts) > OFFICIAL_COMPONENTS,
        MANY_LESIONS: pair.reference_lesions.count >= lesions.OFFICIAL_LABELS,
    }
    return CaseScore(
        mode=OFFICIAL,
        shape=pair.shape,
        spacing_mm=pair.spacing_mm,
        liver=liver,
        liver_dice=liver_dice,
        tumour_dice=overlap.dice(tumour_counts),
        liver_counts=global_liver,
        tumour_counts=tumour_counts,
        detection=tuple(detection),
        objects=tuple(
            objects.score_official(pair.group_counts(group), pair.group_distances(group))
            for group in compared
        ),
        burden_reference=volumes.tumour_burden(tumour_counts.reference, liver_counts.reference),
        burden_prediction=(
            volumes.tumour_burden(tumour_counts.prediction, liver_counts.prediction)
            if pair.has_plain_liver
            else objects.LARGE
        ),
        volumes_ml=_volumes(pair),
        surface_dice=_surface_dice(pair),
        lesion_records=records,
        marks=tuple(mark for mark, applies in marks.items() if applies),
    )


def _score_corrected(
    pair: Pair, groups: list[lesions.Group], records: tuple[causes.LesionRecord, ...]
) -> CaseScore:
    liver_counts, tumour_counts = pair.liver_counts, pair.tumour_counts
    detection = []
    for threshold in lesions.THRESHOLDS:
        verdicts = lesions.judge_corrected(groups, threshold)
        detection.append(lesions.detect_corrected(pair.overlaps, verdicts, threshold))
    return CaseScore(
        mode=CORRECTED,
        shape=pair.shape,
        spacing_mm=pair.spacing_mm,
        liver=objects.score_corrected(liver_counts, pair.liver_distances),
        liver_dice=overlap.dice(liver_counts),
        tumour_dice=overlap.dice(tumour_counts),
        liver_counts=liver_counts,
        tumour_counts=tumour_counts,
        detection=tuple(detection),
        objects=tuple(
            objects.score_corrected(pair.group_counts(v.group), pair.group_distances(v.group))
            for v in verdicts
            if v.detected
        ),
        burden_reference=volumes.tumour_burden(tumour_counts.reference, liver_counts.reference),
        burden_prediction=volumes.tumour_burden(tumour_counts.prediction, liver_counts.prediction),
        volumes_ml=_volumes(pair),
        surface_dice=_surface_dice(pair),
        lesion_records=records,
        marks=(LIVER_UNDEFINED,) if pair.liver_distances is None else (),
    )


def _volumes(pair: Pair) -> dict[str, float]:
    return {
        "liver_reference": pair.millilitres(pair.liver_counts.reference),
        "liver_prediction": pair.millilitres(pair.liver_counts.prediction),
        "tumour_reference": pair.millilitres(pair.tumour_counts.reference),
        "tumour_prediction": pair.millilitres(pair.tumour_counts.prediction),
    }


def _surface_dice(pair: Pair) -> dict[str, float]:
    scores = {}
    for name, counts, distances in (
        ("liver", pair.liver_counts, pair.liver_distances),
        ("tumour", pair.tumour_counts, pair.tumour_distances),
    ):
        for tolerance in TOLERANCES_MM:
            scores[f"{name}_{tolerance}mm"] = _within(counts, distances, tolerance)
    return scores


def _within(counts: Counts, distances: SurfaceDistances | None, tolerance_mm: float) -> float:
    """Surface Dice; both empty give 1, one empty gives 0, as for Dice."""
    if distances is None:
        return 0.0 if counts.reference or counts.prediction else 1.0
    return distances.surface_dice(tolerance_mm)
