"""Scores a folder of predictions against a folder of references and writes all results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsdenseunet import environment, files
from dsdenseunet.data import walk
from dsdenseunet.evaluation import tables
from dsdenseunet.evaluation.case import MODES
from dsdenseunet.evaluation.pairing import FilePair, find_images, find_pairs
from dsdenseunet.evaluation.reading import LIBRARIES
from dsdenseunet.evaluation.run import score_pairs
from dsdenseunet.evaluation.summary import compare_methods, differences, summarise


def evaluate(
    predictions: str | os.PathLike[str],
    references: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    modes: Sequence[str] = MODES,
    workers: int = 1,
    compare: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Writes cases.csv, lesions.csv and scores.json to `out`; returns what scores.json holds.

    Args:
        predictions: folder of label volumes.
        references: folder of label volumes.
        out: folder to write to; scores of each case are kept there and reused.
        modes: of "official" and "corrected".
        workers: processes.
        compare: folder with a second method's predictions of the same cases; its own results go to
            `out`/compare, the comparison into scores.json.
        images: folder with the cases' CTs, whose paths go into scores.json for pictures; by default CTs are
            looked for among the references.

    Raises:
        InputError: see `pairing.find_pairs` and `reading.score_files`.
    """
    folders = [(predictions, Path(out))]
    if compare is not None:
        folders.append((compare, Path(out) / "compare"))
    pairs = [find_pairs(folder, references) for folder, _ in folders]
    scores, results = [], []
    for (folder, target), members in zip(folders, pairs, strict=True):
        scores.append(score_pairs(members.used, target, modes, workers))
        cts = find_images(members.used, images or references)
        results.append(
            {
                "cases": len(members.used),
                "predictions": os.fspath(folder),
                "references": os.fspath(references),
                "modes": summarise(scores[-1]),
                "differences": differences(scores[-1]),
                "files": _file_table(members.used, cts),
                "passed_over": walk.to_json(walk.not_used(members.passed_over, cts.values())),
                "environment": environment.describe(LIBRARIES),
            }
        )
    if compare is not None:
        results[0]["comparison"] = {
            "first": os.fspath(predictions),
            "second": os.fspath(compare),
            "modes": compare_methods(scores[0], scores[1]),
            "passed_over": results[1]["passed_over"],
        }
    for (_, target), members_scores, result in zip(folders, scores, results, strict=True):
        files.write_text(target / "cases.csv", tables.cases_csv(members_scores))
        files.write_text(target / "lesions.csv", tables.lesions_csv(members_scores))
        files.write_json(target / "scores.json", result)
    return results[0]


def _file_table(pairs: Sequence[FilePair], images: dict[str, Path]) -> dict[str, dict[str, str | None]]:
    return {
        pair.name: {
            "prediction": str(pair.prediction),
            "reference": str(pair.reference),
            "image": str(images[pair.name]) if pair.name in images else None,
        }
        for pair in pairs
    }
