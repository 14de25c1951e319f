"""Detection and Dice of reference lesions by size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from dsdenseunet.evaluation.case import CaseScore

# Diameter of the sphere of the lesion's volume, mm; the last bin has no upper end.
EDGES_MM = (0.0, 5.0, 10.0, 20.0, math.inf)


def score_by_size(cases: Sequence[CaseScore]) -> list[dict[str, Any]]:
    """One row per bin, over the reference lesions of all cases.

    Returns:
        `from_mm`, `to_mm` (None: no end), `lesions`, and where there are any: `touched` and `detected`
        (shares), `dice` (missed lesions count 0) and `dice_touched` (over touched ones); else None.
    """
    records = [r for case in cases for r in case.lesion_records if r.side == "reference"]
    rows = []
    for low, high in itertools.pairwise(EDGES_MM):
        members = [record for record in records if low <= record.diameter_mm < high]
        rows.append(
            {
                "from_mm": low,
                "to_mm": None if math.isinf(high) else high,
                "lesions": len(members),
                "touched": _mean([record.touched for record in members]),
                "detected": _mean([record.detected for record in members]),
                "dice": _mean([record.dice for record in members]),
                "dice_touched": _mean([record.dice for record in members if record.touched]),
            }
        )
    return rows


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
