"""Scores a folder of predictions against a folder of references and writes all results."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsdenseunet.core import failures, files
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.failures import Failure
from dsdenseunet.core.words import counted
from dsdenseunet.data.scans import walk
from dsdenseunet.evaluation import calibration
from dsdenseunet.evaluation.case import MODES
from dsdenseunet.evaluation.pairing import FilePair, find_images, find_pairs, images_of
from dsdenseunet.evaluation.reading import LIBRARIES, Scored
from dsdenseunet.evaluation.scorers import CASES, LESIONS, Facts, Scorer, scorer_of
from dsdenseunet.evaluation.scoring import score_pairs
from dsdenseunet.evaluation.summary import without
from dsdenseunet.runtime import environment
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.task import Task

# Results of the whole set; the last one is written by `reporting.score_page`.
RESULTS = ("scores.json", CASES, LESIONS, "report.html")


@dataclasses.dataclass(frozen=True)
class Set:
    """The files that are scored together.

    Attributes:
        predictions: where the predictions are, in words.
        references: where the references are.
        pairs: of each case.
        images: of the cases that have one, for pictures.
        passed_over: files that are not used.
        facts: by case, what stands beside its scores, the same names for all cases.
        failures: cases that have no prediction, and why.
    """

    predictions: str
    references: str
    pairs: Sequence[FilePair]
    images: Mapping[str, Path]
    passed_over: Sequence[walk.PassedOver] = ()
    facts: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    failures: Sequence[Failure] = ()

    @classmethod
    def of(
        cls,
        predictions: str | os.PathLike[str],
        references: str | os.PathLike[str],
        images: str | os.PathLike[str] | None,
    ) -> Set:
        """What two folders hold; images are looked for in a third one, or where the references are.

        Raises:
            InputError: see `pairing.find_pairs`.
        """
        found = find_pairs(predictions, references)
        shown = find_images(found.used, images or images_of(references))
        return cls(os.fspath(predictions), os.fspath(references), found.used, shown, found.passed_over)

    def of_case(self, pair: FilePair) -> dict[str, str | None]:
        """Where the files of a case are, and what is known of it."""
        return {
            "prediction": str(pair.prediction),
            "reference": str(pair.reference),
            "image": str(self.images[pair.name]) if pair.name in self.images else None,
            **self.facts.get(pair.name, {}),
        }


def evaluate(
    predictions: str | os.PathLike[str],
    references: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    modes: Sequence[str] = MODES,
    workers: int = 1,
    compare: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    task: Task = lits.TASK,
) -> dict[str, Any]:
    """Writes cases.csv, of LiTS lesions.csv, and scores.json to `out`; returns what scores.json holds.

    Pairs that cannot be scored are written to failures.json and named in the result; all else is about the
    others.

    Args:
        predictions: folder of label volumes.
        references: folder of label volumes.
        out: folder to write to; scores of each case are kept there and reused.
        modes: of "official" and "corrected", which are LiTS' own; any other task is scored by its regions.
        workers: processes.
        compare: folder with a second method's predictions of the same cases; its own results go to
            `out`/compare, the comparison, over the cases that both have scores of, into scores.json.
        images: folder with the cases' images, whose paths go into scores.json for pictures; by default
            `pairing.images_of` the references.
        task: what the labels are.

    Raises:
        InputError: see `pairing.find_pairs`; or no pair can be scored, and then older results are removed.
    """
    folders = [(predictions, Path(out))]
    if compare is not None:
        folders.append((compare, Path(out) / "compare"))
    sets = [Set.of(folder, references, images) for folder, _ in folders]
    scorer = scorer_of(task, modes)
    results = [
        _score(members, target, scorer, workers, task)
        for members, (_, target) in zip(sets, folders, strict=True)
    ]
    if compare is not None:
        results[0][1]["comparison"] = {
            "first": os.fspath(predictions),
            "second": os.fspath(compare),
            "failures": results[1][1]["failures"],
            **_compare(results[0][0], results[1][0], compare, scorer),
            "passed_over": results[1][1]["passed_over"],
        }
    for (_, target), (scores, result, facts) in zip(folders, results, strict=True):
        _write(target, scorer, scores, result, facts)
    return results[0][1]


def evaluate_set(
    members: Set, out: str | os.PathLike[str], *, modes: Sequence[str] = MODES, workers: int = 1, task: Task
) -> dict[str, Any]:
    """The same as `evaluate` for files that are known, with what is known of each case beside its scores.

    Args:
        members: the files.
        out: as `evaluate`.
        modes: as `evaluate`.
        workers: as `evaluate`.
        task: as `evaluate`.

    Raises:
        InputError: no pair can be scored, and then older results are removed.
    """
    scorer, out = scorer_of(task, modes), Path(out)
    scores, result, facts = _score(members, out, scorer, workers, task)
    _write(out, scorer, scores, result, facts)
    return result


_Scores = dict[str, dict[str, Any]]


def _score(
    members: Set, target: Path, scorer: Scorer, workers: int, task: Task
) -> tuple[_Scores, dict[str, Any], Facts]:
    """Scores by case and mode, what scores.json is to hold, and what stands beside the scores of a case."""
    scored, failed = score_pairs(members.pairs, target, scorer.modes, workers, task)
    scores = {name: one.scores for name, one in scored.items()}
    failed = [*members.failures, *failed]
    failures.write(target / failures.NAME, failed)
    if not scores:
        raise _nothing_scored(members.predictions, target, failed, task)
    result = {
        "cases": len(scores),
        "failures": [dataclasses.asdict(failure) for failure in failed],
        "predictions": members.predictions,
        "references": members.references,
        "task": task.to_config(),
        "modes": scorer.summarise(scores),
        "by_fold": _by_fold(members, scorer, scores),
        "absent": {mode: cases for mode in scorer.modes if (cases := without(mode, scores))},
        "differences": scorer.differences(scores),
        "calibration": calibration.summarise([one.calibration for one in scored.values() if one.calibration]),
        "files": {pair.name: members.of_case(pair) for pair in members.pairs if pair.name in scores},
        "passed_over": walk.to_json(walk.not_used(members.passed_over, members.images.values())),
        "environment": environment.describe(LIBRARIES),
    }
    return scores, result, {name: {**members.facts.get(name, {}), **_worth(scored, name)} for name in scored}


def _worth(scored: Mapping[str, Scored], name: str) -> dict[str, str]:
    """ECE and NLL of a case, empty where it has none and others have."""
    if not any(one.calibration for one in scored.values()):
        return {}
    of_case = scored[name].calibration
    values = {"ece": of_case and of_case.ece(), "nll": of_case and of_case.mean_nll()}
    return {column: "" if value is None else str(value) for column, value in values.items()}


def _by_fold(members: Set, scorer: Scorer, scores: _Scores) -> dict[str, dict[str, Any]]:
    """Of each fold, where there are several, how many cases it has and their scores by mode."""
    cases: dict[str, _Scores] = defaultdict(dict)
    for name, modes in scores.items():
        if fold := members.facts.get(name, {}).get("fold"):
            cases[fold][name] = modes
    summaries = {fold: scorer.summarise(own) for fold, own in cases.items() if len(cases) > 1}
    return {
        fold: {"cases": len(cases[fold]), **{mode: values["scores"] for mode, values in summary.items()}}
        for fold, summary in sorted(summaries.items())
    }


def _write(target: Path, scorer: Scorer, scores: _Scores, result: dict[str, Any], facts: Facts) -> None:
    for name, table in scorer.tables(scores, facts).items():
        files.write_text(target / name, table)
    files.write_json(target / "scores.json", result)


def _compare(
    first: Mapping[str, Any], second: Mapping[str, Any], folder: str | os.PathLike[str], scorer: Scorer
) -> dict[str, Any]:
    """Two methods over the cases that both have scores of."""
    names = [name for name in first if name in second]
    if not names:
        raise InputError(
            folder,
            found="no case that both methods have a score of",
            expected="at least one",
            fix=f"repair the files that {failures.NAME} of either method names",
        )
    one, two = ({name: scores[name] for name in names} for scores in (first, second))
    return {"cases": len(names), "modes": scorer.compare_methods(one, two)}


def _nothing_scored(
    folder: str | os.PathLike[str], target: Path, failed: Sequence[Failure], task: Task
) -> InputError:
    # Results of an earlier run must not be taken for this one's.
    for name in RESULTS:
        (target / name).unlink(missing_ok=True)
    return InputError(
        folder,
        found=f"none of {counted(len(failed), 'pair')} can be scored; the first: {failed[0].message}",
        expected=f"labels from 0 to {len(task.classes) - 1} on their references' grids",
        fix=f"repair the files that {target / failures.NAME} names",
    )
