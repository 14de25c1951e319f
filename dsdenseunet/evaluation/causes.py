"""One record per lesion and mode, and why the modes differ about it."""

from __future__ import annotations

from collections import defaultdict

from dsdenseunet.evaluation import lesions, volumes
from dsdenseunet.evaluation.case import CORRECTED, OFFICIAL, LesionRecord
from dsdenseunet.evaluation.components import Components
from dsdenseunet.evaluation.lesions import Group, Verdict
from dsdenseunet.evaluation.pair import Pair

Lesion = tuple[str, int]


def explain(pair: Pair, official: list[Group], corrected: list[Group]) -> dict[str, tuple[LesionRecord, ...]]:
    """Records of every lesion by mode; `cause` says why the counts of its group differ at IoU > 0.5."""
    threshold = lesions.THRESHOLDS[-1]
    verdicts = {
        OFFICIAL: lesions.judge_official(pair.overlaps, official, threshold),
        CORRECTED: lesions.judge_corrected(corrected, threshold),
    }
    members = {
        mode: {lesion: verdict for verdict in judged for lesion in _members(verdict.group)}
        for mode, judged in verdicts.items()
    }
    why: dict[Lesion, str] = {}
    for lesion, verdict in members[OFFICIAL].items():
        counterpart = members[CORRECTED].get(lesion)
        if counterpart is None or counterpart.group != verdict.group:
            why[lesion] = "equal overlaps: the scan order decides which lesions are matched"
        else:
            why[lesion] = _cause(verdict)
    for lesion in members[CORRECTED]:
        why.setdefault(lesion, "equal overlaps: the scan order decides which lesions are matched")
    touching = _touching(pair)
    return {
        mode: tuple(
            _record(pair, side, number, found, members[mode].get((side, number)), touching, why)
            for side, found in (("reference", pair.reference_lesions), ("prediction", pair.predicted_lesions))
            for number in range(1, found.count + 1)
        )
        for mode in (OFFICIAL, CORRECTED)
    }


def _members(group: Group) -> list[Lesion]:
    return [("reference", r) for r in group.references] + [("prediction", p) for p in group.predictions]


def _cause(official: Verdict) -> str:
    """Why the official count of a group is not the corrected one; empty where it is."""
    group, reasons = official.group, []
    threshold = lesions.THRESHOLDS[-1]
    if official.detected != (group.iou > threshold):
        reasons.append(
            f"IoU {official.iou:.3f} taken with another prediction's number; it is {group.iou:.3f}"
        )
    if len(group.references) > 1:
        merged = len(group.references)
        if official.detected:
            reasons.append(f"{merged} reference lesions under one prediction count as 1")
        else:
            reasons.append(f"{merged} merged reference lesions count once and are taken away {merged} times")
    if len(group.predictions) > 1 and official.detected:
        reasons.append(
            f"{len(group.predictions)} predictions of one lesion: {len(group.predictions) - 1} false"
        )
    return "; ".join(reasons)


def _touching(pair: Pair) -> dict[Lesion, list[tuple[int, int]]]:
    """For each lesion: (number on the other side, shared voxels) of all that it touches."""
    touching: dict[Lesion, list[tuple[int, int]]] = defaultdict(list)
    for (p, r), voxels in pair.overlaps.shared.items():
        touching["reference", r].append((p, voxels))
        touching["prediction", p].append((r, voxels))
    return touching


def _record(
    pair: Pair,
    side: str,
    number: int,
    found: Components,
    verdict: Verdict | None,
    touching: dict[Lesion, list[tuple[int, int]]],
    why: dict[Lesion, str],
) -> LesionRecord:
    other = pair.predicted_lesions if side == "reference" else pair.reference_lesions
    touched = touching.get((side, number), [])
    voxels = int(found.sizes[number - 1])
    total = voxels + sum(int(other.sizes[partner - 1]) for partner, _ in touched)
    volume_ml = pair.millilitres(voxels)
    centroid = (
        float(start + mean)
        for start, mean in zip(pair.tumour_offset, found.centroids[number - 1], strict=True)
    )
    return LesionRecord(
        side=side,
        lesion=number,
        voxels=voxels,
        volume_ml=volume_ml,
        diameter_mm=volumes.equivalent_diameter_mm(volume_ml),
        centroid=tuple(centroid),
        group=verdict.group.references[0] if verdict else 0,
        group_iou=verdict.iou if verdict else 0.0,
        dice=2 * sum(shared for _, shared in touched) / total if touched else 0.0,
        touched=bool(touched),
        hit_ml=pair.millilitres(max((int(other.sizes[partner - 1]) for partner, _ in touched), default=0)),
        detected=bool(verdict and verdict.detected),
        cause=why.get((side, number), ""),
    )
