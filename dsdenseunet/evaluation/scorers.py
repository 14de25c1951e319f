"""How a set of cases is summarised, compared and tabulated: LiTS as its challenge does, others by region."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from dsdenseunet.evaluation import case_tables, region_summary, summary
from dsdenseunet.evaluation.regions import REGIONS
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.task import Task

# Scores of all cases, by case name and mode.
Scores = Mapping[str, Mapping[str, Any]]
# What is known of a case, by its name.
Facts = Mapping[str, Mapping[str, str]]
CASES, LESIONS = "cases.csv", "lesions.csv"


class Scorer(Protocol):
    """What `folder.evaluate` asks of a task's scores."""

    @property
    def modes(self) -> Sequence[str]:
        """In which each case is scored."""

    def summarise(self, scores: Scores) -> dict[str, Any]:
        """Scores of the set by mode, with intervals."""

    def compare_methods(self, first: Scores, second: Scores) -> dict[str, Any]:
        """Two methods over the same cases, by mode."""

    def differences(self, scores: Scores) -> list[dict[str, Any]]:
        """What the modes count differently."""

    def tables(self, scores: Scores, facts: Facts) -> dict[str, str]:
        """CSV tables by file name; `facts` are further columns of a case's row."""


def scorer_of(task: Task, modes: Sequence[str]) -> Scorer:
    """The scorer of a task; `modes` are LiTS' own and play no part for any other."""
    return _Lits(modes) if lits.is_lits(task) else _ByRegion(task)


@dataclasses.dataclass(frozen=True)
class _Lits:
    modes: Sequence[str]

    def summarise(self, scores: Scores) -> dict[str, Any]:
        return summary.summarise(scores)

    def compare_methods(self, first: Scores, second: Scores) -> dict[str, Any]:
        return summary.compare_methods(first, second)

    def differences(self, scores: Scores) -> list[dict[str, Any]]:
        return summary.differences(scores)

    def tables(self, scores: Scores, facts: Facts) -> dict[str, str]:
        return {CASES: case_tables.cases_csv(scores, facts), LESIONS: case_tables.lesions_csv(scores)}


@dataclasses.dataclass(frozen=True)
class _ByRegion:
    task: Task
    modes: Sequence[str] = (REGIONS,)

    def summarise(self, scores: Scores) -> dict[str, Any]:
        return region_summary.summarise(scores, self.task)

    def compare_methods(self, first: Scores, second: Scores) -> dict[str, Any]:
        return region_summary.compare_methods(first, second, self.task)

    def differences(self, scores: Scores) -> list[dict[str, Any]]:
        return []

    def tables(self, scores: Scores, facts: Facts) -> dict[str, str]:
        return {CASES: case_tables.cases_csv(scores, facts)}
