"""The scores of a set as one JSON document, by mode."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.evaluation import cohort, statistics
from dsdenseunet.evaluation.case import CORRECTED, MODES, OFFICIAL, CaseScore
from dsdenseunet.evaluation.case_tables import Scores
from dsdenseunet.evaluation.free_response import free_response
from dsdenseunet.evaluation.size_bins import score_by_size


def summarise(scores: Scores, seed: int = 0) -> dict[str, Any]:
    """All scores of a set, by the modes that every case has a score of.

    Returns:
        for each of them: `scores` (the challenge's names), `extra`, `intervals` (95 %, bootstrap over cases,
        of both), `by_size`, `free_response`, `marks` (case names by mark). None: not defined.
    """
    weights = statistics.case_weights(len(scores), seed)
    return {
        mode: _summarise_mode({name: case[mode] for name, case in scores.items()}, weights)
        for mode in MODES
        if not without(mode, scores)
    }


def without(mode: str, scores: Scores) -> list[str]:
    """Names of the cases that a mode could not score; the set then has no score in it."""
    return [name for name, modes in scores.items() if mode not in modes]


def compare_methods(first: Scores, second: Scores, seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    """Two methods over the same cases, by the modes that both have of all; see `statistics.compare`."""
    weights = statistics.case_weights(len(first), seed)
    return {
        mode: [
            dataclasses.asdict(row)
            for row in statistics.compare(
                _terms([first[name][mode] for name in first]),
                _terms([second[name][mode] for name in first]),
                weights,
                seed,
            )
        ]
        for mode in MODES
        if not without(mode, first) and not without(mode, second)
    }


def differences(scores: Scores) -> list[dict[str, Any]]:
    """Groups of lesions that the two modes count differently, with the cause; empty for one mode."""
    rows = []
    for name, modes in scores.items():
        if OFFICIAL not in modes or CORRECTED not in modes:
            continue
        groups: dict[tuple[int, str], dict[str, list[int]]] = defaultdict(
            lambda: {"reference": [], "prediction": []}
        )
        for record in modes[OFFICIAL].lesion_records:
            if record.cause:
                groups[record.group, record.cause][record.side].append(record.lesion)
        rows += [
            {"case": name, "reference_lesions": sides["reference"], "predicted_lesions": sides["prediction"]}
            | {"cause": cause}
            for (_, cause), sides in groups.items()
        ]
    return rows


def _summarise_mode(cases: dict[str, CaseScore], weights: NDArray[np.float64]) -> dict[str, Any]:
    members = list(cases.values())
    terms = _terms(members)
    extra = cohort.extra_terms(members)
    marks: dict[str, list[str]] = defaultdict(list)
    for name, case in cases.items():
        for mark in case.marks:
            marks[mark].append(name)
    return {
        "scores": cohort.score_set(members),
        "extra": {name: term.value() for name, term in extra.items()},
        "intervals": {name: statistics.interval(term, weights) for name, term in terms.items()},
        "by_size": score_by_size(members),
        "free_response": free_response(members),
        "marks": dict(marks),
    }


def _terms(cases: Sequence[CaseScore]) -> dict[str, cohort.Ratio]:
    return cohort.official_terms(cases) | cohort.extra_terms(cases)
