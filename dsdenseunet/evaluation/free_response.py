"""Free response: lesions found over false positives a case, as small predictions are dropped.

Label volumes carry no confidence; the volume of a predicted lesion stands in for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.evaluation.case import CaseScore

# The rates of the LUNA16 challenge.
FALSE_POSITIVES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
MOST_POINTS = 200


def free_response(cases: Sequence[CaseScore]) -> dict[str, Any] | None:
    """The curve over all cases of LiTS; see `response`."""
    records = [record for case in cases for record in case.lesion_records]
    predictions = [record for record in records if record.side == "prediction"]
    return response(
        [record.hit_ml for record in records if record.side == "reference"],
        [record.volume_ml for record in predictions if record.touched],
        [record.volume_ml for record in predictions if not record.touched],
        len(cases),
    )


def response(
    hit_ml: Sequence[float], true_ml: Sequence[float], false_ml: Sequence[float], cases: int
) -> dict[str, Any] | None:
    """The curve over all cases; None without a reference lesion.

    A reference lesion is found if a kept prediction shares a voxel with it; a kept prediction that
    shares none with any is a false positive.

    Args:
        hit_ml: of each reference lesion the volume of the largest predicted one that it touches, else 0.
        true_ml: volumes of the predicted lesions that touch the reference.
        false_ml: volumes of the others.
        cases: how many there are.

    Returns:
        `curve`: rows of `smallest_ml` (predictions below it are dropped), `false_positives` (a case)
        and `sensitivity`, from all dropped to all kept, at most 200 of them; `at`: sensitivity that is
        reached with at most so many false positives a case; `mean`: over the rates of `at`.
    """
    found, false = np.array(hit_ml), np.array(false_ml)
    if not found.size:
        return None
    thresholds = np.unique([*true_ml, *false_ml])[::-1]
    # Dropping all comes first: no threshold.
    rates = np.concatenate([[0.0], _at_least(false, thresholds) / cases])
    sensitivities = np.concatenate([[0.0], _at_least(found, thresholds) / len(found)])
    at = {f"{rate:g}": float(sensitivities[rates <= rate].max()) for rate in FALSE_POSITIVES}
    kept = np.unique(np.linspace(0, len(rates) - 1, MOST_POINTS).round().astype(int))
    curve = [
        {
            "smallest_ml": float(thresholds[index - 1]) if index else None,
            "false_positives": float(rates[index]),
            "sensitivity": float(sensitivities[index]),
        }
        for index in kept
    ]
    return {"curve": curve, "at": at, "mean": sum(at.values()) / len(at)}


def _at_least(values: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many values reach each threshold."""
    return (len(values) - np.searchsorted(np.sort(values), thresholds, side="left")).astype(np.float64)
