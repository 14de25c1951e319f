"""How far a set's scores can be trusted: bootstrap intervals and the paired comparison of two methods."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.core.words import counted
from dsdenseunet.evaluation.cohort import Ratio

LEVEL = 0.95
RESAMPLES = 10_000
# Up to here all 2^n ways of exchanging the two methods are tried.
MOST_EXACT_CASES = 13
SIGNIFICANCE = 0.05
# What two methods are compared in, and whether more is better. Kept short: every further score makes
# the correction for many tests stricter.
COMPARED = {
    "liver_dice_per_case": True,
    "liver_dice_global": True,
    "liver_surface_dice_2mm": True,
    "lesion_dice_per_case": True,
    "lesion_dice_global": True,
    "tumour_surface_dice_2mm": True,
    "lesion_precision": True,
    "lesion_recall": True,
    "RMSE_Tumorburden": False,
}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two methods in one score, over the same cases.

    Attributes:
        name: the score.
        first: the first method's value; None where not defined.
        second: the second method's.
        difference: first less second.
        low: lower end of the bootstrap interval of the difference.
        high: its upper end.
        p_value: two-sided, of exchanging the methods case by case.
        p_adjusted: the same after Holm's correction over all compared scores.
        better: "first" or "second" if the difference is beyond noise, else "undecided".
        reason: why it is undecided; empty otherwise.
    """

    name: str
    first: float | None
    second: float | None
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    p_adjusted: float | None
    better: str
    reason: str


def case_weights(cases: int, seed: int = 0, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """(resamples, cases) how often each case is drawn when cases are drawn with replacement."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(cases, np.full(cases, 1 / cases), size=resamples).astype(np.float64)


def crossed_weights(
    cases: int, repeats: int, seed: int = 0, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """(resamples, repeats x cases) the same where all cases were repeated, and repetitions are drawn as well.

    For one repetition they are those of `case_weights`. Of the few repetitions that there usually are, the
    bootstrap knows too little: intervals come out somewhat too narrow (of three by a fifth for their part).

    Args:
        cases: how many.
        repeats: blocks of all cases, such as seeds.
        seed: another one draws otherwise.
        resamples: how many sets are drawn.
    """
    of_cases = case_weights(cases, seed, resamples)
    if repeats == 1:
        return of_cases
    of_repeats = case_weights(repeats, seed + 1, resamples)
    return (of_repeats[:, :, None] * of_cases[:, None, :]).reshape(resamples, -1)


def interval(term: Ratio, weights: NDArray[np.float64]) -> tuple[float, float] | None:
    """Percentile bootstrap interval (95 %) over cases; None for fewer than two cases or no value.

    Args:
        term: a score.
        weights: of `case_weights`; one for all scores keeps them comparable.
    """
    if weights.shape[1] < 2 or term.value() is None:
        return None
    return _percentiles(term.weighted(weights))


def compare(
    first: Mapping[str, Ratio],
    second: Mapping[str, Ratio],
    weights: NDArray[np.float64],
    seed: int = 0,
    compared: Mapping[str, bool] = COMPARED,
    repeats: int = 1,
) -> list[Comparison]:
    """Compares two methods in some scores, case by case in the same order.

    A difference counts only if the adjusted p-value is below 0.05 and the interval leaves out 0.

    Args:
        first: terms of one method.
        second: terms of the other over the same cases.
        weights: of `case_weights`, or of `crossed_weights`.
        seed: of the random exchanges, beyond 13 cases.
        compared: names of the scores, and whether more is better.
        repeats: of `crossed_weights`; a case's repetitions are exchanged together, as they are not
            independent.
    """
    cases = weights.shape[1] // repeats
    swaps = np.tile(_exchanges(cases, seed), (1, repeats))
    p_values = {name: _p_value(first[name], second[name], swaps) for name in compared}
    adjusted = holm({name: p for name, p in p_values.items() if p is not None})
    return [
        _judge(name, first[name], second[name], weights, cases, p_values[name], adjusted.get(name), compared)
        for name in compared
    ]


def _judge(
    name: str,
    first: Ratio,
    second: Ratio,
    weights: NDArray[np.float64],
    cases: int,
    p_value: float | None,
    p_adjusted: float | None,
    compared: Mapping[str, bool],
) -> Comparison:
    one, two = first.value(), second.value()
    difference = low = high = None
    better, reason = "undecided", ""
    if one is not None and two is not None:
        difference = one - two
        ends = _percentiles(first.weighted(weights) - second.weighted(weights))
        low, high = ends if ends else (None, None)
    if difference is None or p_value is None or p_adjusted is None:
        reason = "not defined for both"
    elif 2.0 ** (1 - cases) * len(compared) >= SIGNIFICANCE:
        reason = f"{counted(cases, 'case is', 'cases are')} too few for any difference to show"
    elif p_adjusted >= SIGNIFICANCE or low is None or high is None or low <= 0 <= high:
        reason = "inside the noise"
    else:
        better = "first" if (difference > 0) == compared[name] else "second"
    return Comparison(name, one, two, difference, low, high, p_value, p_adjusted, better, reason)


def _p_value(first: Ratio, second: Ratio, swaps: NDArray[np.float64]) -> float | None:
    """Share of exchanges whose difference is at least as large; the given order is one of them."""
    one, two = first.value(), second.value()
    if one is None or two is None:
        return None
    stay = 1 - swaps
    differences = _mixed(first, second, stay, swaps) - _mixed(second, first, stay, swaps)
    # An exchange that leaves a score undefined counts against a difference.
    size = np.where(np.isnan(differences), np.inf, np.abs(differences))
    return float(np.mean(size >= abs(one - two) - 1e-12))


def _mixed(
    own: Ratio, other: Ratio, stay: NDArray[np.float64], swaps: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Scores of a method some of whose cases come from the other."""
    joined = dataclasses.replace(
        own,
        numerator=np.concatenate([own.numerator, other.numerator]),
        denominator=np.concatenate([own.denominator, other.denominator]),
    )
    return joined.weighted(np.concatenate([stay, swaps], axis=1))


def _exchanges(cases: int, seed: int) -> NDArray[np.float64]:
    """(exchanges, cases) 1 where the methods change places; the first row changes none."""
    if cases <= MOST_EXACT_CASES:
        return np.array(list(itertools.product((0.0, 1.0), repeat=cases)))
    drawn = np.random.default_rng(seed).integers(0, 2, size=(RESAMPLES, cases)).astype(np.float64)
    drawn[0] = 0
    return drawn


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values that hold for all of a family of tests together (Holm 1979), by the same names."""
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, p_values[name] * (len(p_values) - rank)))
        adjusted[name] = largest
    return adjusted


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float] | None:
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = np.percentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)
