"""The scores of a set as one JSON document, by mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dsdenseunet.evaluation import cohort
from dsdenseunet.evaluation.case import CaseScore
from dsdenseunet.evaluation.tables import Scores


def summarise(scores: Scores) -> dict[str, Any]:
    """All scores of a set by mode; `scores` has the challenge's names, None where one is not defined."""
    modes = list(next(iter(scores.values())))
    return {mode: _summarise_mode([case[mode] for case in scores.values()]) for mode in modes}


def _summarise_mode(cases: Sequence[CaseScore]) -> dict[str, Any]:
    return {
        "scores": cohort.score_set(cases),
        "extra": {name: term.value() for name, term in cohort.extra_terms(cases).items()},
    }
