"""Results as files: cases.csv, lesions.csv and scores.json. Every number stands beside its mode."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

from dsdenseunet.evaluation import objects, region_summary
from dsdenseunet.evaluation.case import CaseScore, LesionRecord
from dsdenseunet.evaluation.regions import TaskScore

# Scores of all cases, by case name and mode.
Scores = Mapping[str, Mapping[str, CaseScore]]


def case_row(name: str, score: CaseScore) -> dict[str, Any]:
    """One case in one mode as a flat row; lesion scores are means over the case's detected lesions."""
    row: dict[str, Any] = {"case": name, "mode": score.mode}
    row |= {"lesion_dice_per_case": score.tumour_dice, "liver_dice_per_case": score.liver_dice}
    row |= {f"liver_{metric}": getattr(score.liver, metric) for metric in objects.NAMES}
    for metric in objects.NAMES:
        values = [v for item in score.objects if (v := getattr(item, metric)) is not None]
        row[f"lesion_{metric}"] = sum(values) / len(values) if values else None
    for detection, suffix in zip(score.detection, ("_greater_zero", ""), strict=True):
        row |= {
            f"true_reference{suffix}": detection.true_reference,
            f"true_prediction{suffix}": detection.true_prediction,
            f"false_positive{suffix}": detection.false_positive,
            f"false_negative{suffix}": detection.false_negative,
        }
    row |= {
        "burden_reference": score.burden_reference,
        "burden_prediction": score.burden_prediction,
        "burden_difference": score.burden_difference,
    }
    row |= {f"{name}_ml": volume for name, volume in score.volumes_ml.items()}
    row |= {
        f"{organ}_surface_dice_{tolerance}": value
        for (organ, tolerance), value in ((key.split("_"), v) for key, v in score.surface_dice.items())
    }
    row |= {
        f"{organ}_voxels_{side}": getattr(counts, side)
        for organ, counts in (("liver", score.liver_counts), ("lesion", score.tumour_counts))
        for side in ("prediction", "reference", "intersection")
    }
    row["spacing_mm"] = " ".join(f"{side:g}" for side in score.spacing_mm)
    row["turned"] = score.turned
    row["marks"] = "; ".join(score.marks)
    return row


def cases_csv(
    scores: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Mapping[str, str]] | None = None
) -> str:
    """One row per case and mode; an undefined number is an empty field. `facts` by case come last."""
    rows = []
    for name, modes in scores.items():
        for score in modes.values():
            row = region_summary.case_row if isinstance(score, TaskScore) else case_row
            rows.append({**row(name, score), **(facts or {}).get(name, {})})
    return _csv(rows)


def lesions_csv(scores: Scores) -> str:
    """One row per lesion and mode, of the references and of the predictions."""
    rows = []
    for name, modes in scores.items():
        for mode, score in modes.items():
            for record in score.lesion_records:
                row = {"case": name, "mode": mode, **dataclasses.asdict(record)}
                row["centroid"] = " ".join(f"{position:.1f}" for position in record.centroid)
                rows.append(row)
    fields = ["case", "mode", *(field.name for field in dataclasses.fields(LesionRecord))]
    return _csv(rows, fields)


def _csv(rows: Sequence[Mapping[str, Any]], fields: Sequence[str] | None = None) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fields or list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
