"""Scores of a set of cases: the challenge's names and what goes beyond them.

Every score but the maximum is a ratio of two sums over cases, so that one table of terms serves the
values, their bootstrap intervals and the comparison of two methods.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.evaluation import objects
from dsdenseunet.evaluation.case import OFFICIAL, CaseScore
from dsdenseunet.evaluation.overlap import Counts

MAXIMUM_ERROR = "MAXERROR_Tumorburden"
BURDEN_RMSE = "RMSE_Tumorburden"


@dataclasses.dataclass(frozen=True)
class Ratio:
    """Sum of `numerator` over sum of `denominator`, each one number a case.

    Attributes:
        numerator: (cases,) float64.
        denominator: (cases,) float64.
        empty: value if the denominators' sum is 0; None: not defined.
        root: whether the square root of the ratio is taken.
    """

    numerator: NDArray[np.float64]
    denominator: NDArray[np.float64]
    empty: float | None = None
    root: bool = False

    def value(self) -> float | None:
        """The score of the whole set."""
        below = float(self.denominator.sum())
        if not below:
            return self.empty
        ratio = float(self.numerator.sum()) / below
        return float(np.sqrt(ratio)) if self.root else ratio

    def weighted(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of sets in which case i occurs `weights[k, i]` times; NaN where not defined.

        Args:
            weights: (sets, cases).
        """
        above, below = weights @ self.numerator, weights @ self.denominator
        empty = np.nan if self.empty is None else self.empty
        ratio = np.full(len(above), empty)
        np.divide(above, below, out=ratio, where=below != 0)
        return np.sqrt(ratio) if self.root else ratio


def official_terms(cases: Sequence[CaseScore]) -> dict[str, Ratio]:
    """Terms of the challenge's scores, all but `MAXERROR_Tumorburden`, by their official names."""
    official = cases[0].mode == OFFICIAL
    terms = {}
    for position, suffix in ((-1, ""), (0, "_greater_zero")):
        found = [case.detection[position] for case in cases]
        empty = 0.0 if official else None
        terms[f"lesion_precision{suffix}"] = _ratio(
            [d.true_prediction for d in found], [d.true_prediction + d.false_positive for d in found], empty
        )
        terms[f"lesion_recall{suffix}"] = _ratio(
            [d.true_reference for d in found], [d.true_reference + d.false_negative for d in found], empty
        )
    for name in objects.NAMES:
        empty = getattr(objects.OFFICIAL_MISSING, name) if official else None
        terms[f"lesion_{name}"] = _mean_of([_defined(case.objects, name) for case in cases], empty)
    terms["lesion_dice_per_case"] = _mean([case.tumour_dice for case in cases])
    terms["lesion_dice_global"] = _pooled_dice([case.tumour_counts for case in cases])
    for name in objects.NAMES:
        terms[f"liver_{name}"] = _mean_of([_defined((case.liver,), name) for case in cases], None)
    terms["liver_dice_per_case"] = _mean([case.liver_dice for case in cases])
    terms["liver_dice_global"] = _pooled_dice([case.liver_counts for case in cases])
    squares = [case.burden_difference**2 for case in cases]
    terms[BURDEN_RMSE] = dataclasses.replace(_mean(squares), root=True)
    return terms


def extra_terms(cases: Sequence[CaseScore]) -> dict[str, Ratio]:
    """Terms of scores that the challenge does not have: surface Dice and volumes."""
    terms = {}
    for name in cases[0].surface_dice:
        organ, tolerance = name.split("_")
        terms[f"{organ}_surface_dice_{tolerance}"] = _mean([case.surface_dice[name] for case in cases])
    for organ in ("liver", "tumour"):
        differences = [
            case.volumes_ml[f"{organ}_prediction"] - case.volumes_ml[f"{organ}_reference"] for case in cases
        ]
        terms[f"{organ}_volume_difference_ml"] = _mean(differences)
        terms[f"{organ}_volume_error_ml"] = _mean([abs(difference) for difference in differences])
    terms["lesion_rvd_absolute"] = _mean_of(
        [[abs(value) for value in _defined(case.objects, "rvd")] for case in cases], None
    )
    return terms


def maximum_burden_error(cases: Sequence[CaseScore]) -> float:
    """Largest error of the tumour burden: signed in official mode, absolute in corrected mode."""
    size: Callable[[float], float] = float if cases[0].mode == OFFICIAL else abs
    return max(size(case.burden_difference) for case in cases)


def score_set(cases: Sequence[CaseScore]) -> dict[str, float | None]:
    """The challenge's scores of a set by their official names; None where one is not defined.

    Args:
        cases: at least one, all of one mode.
    """
    scores = {name: term.value() for name, term in official_terms(cases).items()}
    scores[MAXIMUM_ERROR] = maximum_burden_error(cases)
    return scores


def _defined(scores: Sequence[objects.ObjectScore], name: str) -> list[float]:
    return [value for score in scores if (value := getattr(score, name)) is not None]


def _ratio(above: Sequence[float], below: Sequence[float], empty: float | None) -> Ratio:
    return Ratio(np.asarray(above, np.float64), np.asarray(below, np.float64), empty)


def _mean(values: Sequence[float]) -> Ratio:
    return _ratio(values, [1.0] * len(values), None)


def _mean_of(values: Sequence[Sequence[float]], empty: float | None) -> Ratio:
    """Mean over all values of all cases, however many each has."""
    return _ratio([sum(items) for items in values], [len(items) for items in values], empty)


def _pooled_dice(counts: Sequence[Counts]) -> Ratio:
    """Dice over the voxels of all cases; 1 if there are none at all."""
    return _ratio([2 * c.intersection for c in counts], [c.prediction + c.reference for c in counts], 1.0)
