"""Scores a folder of predictions against a folder of references and writes all results."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsdenseunet.core import failures, files
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.failures import Failure
from dsdenseunet.core.words import counted
from dsdenseunet.data.scans import walk
from dsdenseunet.evaluation.case import MODES
from dsdenseunet.evaluation.pairing import FilePair, find_images, find_pairs
from dsdenseunet.evaluation.reading import LIBRARIES
from dsdenseunet.evaluation.scorers import CASES, LESIONS, Scorer, scorer_of
from dsdenseunet.evaluation.scoring import score_pairs
from dsdenseunet.evaluation.summary import without
from dsdenseunet.runtime import environment
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.task import Task

# Results of the whole set; the last one is written by `reporting.score_page`.
RESULTS = ("scores.json", CASES, LESIONS, "report.html")


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
        images: folder with the cases' images, whose paths go into scores.json for pictures; by default they
            are looked for among the references.
        task: what the labels are.

    Raises:
        InputError: see `pairing.find_pairs`; or no pair can be scored, and then older results are removed.
    """
    scorer = scorer_of(task, modes)
    folders = [(predictions, Path(out))]
    if compare is not None:
        folders.append((compare, Path(out) / "compare"))
    pairs = [find_pairs(folder, references) for folder, _ in folders]
    found = [find_images(members.used, images or references) for members in pairs]
    scores, results = [], []
    for (folder, target), members, shown in zip(folders, pairs, found, strict=True):
        scored, failed = score_pairs(members.used, target, scorer.modes, workers, task)
        failures.write(target / failures.NAME, failed)
        if not scored:
            raise _nothing_scored(folder, target, failed, task)
        scores.append(scored)
        results.append(
            {
                "cases": len(scored),
                "failures": [dataclasses.asdict(failure) for failure in failed],
                "predictions": os.fspath(folder),
                "references": os.fspath(references),
                "task": task.to_config(),
                "modes": scorer.summarise(scored),
                "absent": {mode: cases for mode in scorer.modes if (cases := without(mode, scored))},
                "differences": scorer.differences(scored),
                "files": _file_table([pair for pair in members.used if pair.name in scored], shown),
                "passed_over": walk.to_json(walk.not_used(members.passed_over, shown.values())),
                "environment": environment.describe(LIBRARIES),
            }
        )
    if compare is not None:
        results[0]["comparison"] = {
            "first": os.fspath(predictions),
            "second": os.fspath(compare),
            "failures": results[1]["failures"],
            **_compare(scores[0], scores[1], compare, scorer),
            "passed_over": results[1]["passed_over"],
        }
    for (_, target), members_scores, result in zip(folders, scores, results, strict=True):
        for name, table in scorer.tables(members_scores).items():
            files.write_text(target / name, table)
        files.write_json(target / "scores.json", result)
    return results[0]


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


def _file_table(pairs: Sequence[FilePair], images: dict[str, Path]) -> dict[str, dict[str, str | None]]:
    return {
        pair.name: {
            "prediction": str(pair.prediction),
            "reference": str(pair.reference),
            "image": str(images[pair.name]) if pair.name in images else None,
        }
        for pair in pairs
    }
