"""Scores a folder of predictions against a folder of references and writes all results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsdenseunet import files
from dsdenseunet.evaluation import tables
from dsdenseunet.evaluation.case import MODES
from dsdenseunet.evaluation.environment import describe_environment
from dsdenseunet.evaluation.pairing import find_pairs
from dsdenseunet.evaluation.run import score_pairs
from dsdenseunet.evaluation.summary import summarise


def evaluate(
    predictions: str | os.PathLike[str],
    references: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    modes: Sequence[str] = MODES,
    workers: int = 1,
) -> dict[str, Any]:
    """Writes cases.csv, lesions.csv and scores.json to `out`; returns what scores.json holds.

    Raises:
        InputError: see `pairing.find_pairs` and `reading.score_files`.
    """
    pairs = find_pairs(predictions, references)
    out = Path(out)
    scores = score_pairs(pairs, out, modes, workers)
    result = {
        "cases": len(pairs),
        "modes": summarise(scores),
        "predictions": os.fspath(predictions),
        "references": os.fspath(references),
        "environment": describe_environment(),
    }
    files.write_text(out / "cases.csv", tables.cases_csv(scores))
    files.write_text(out / "lesions.csv", tables.lesions_csv(scores))
    files.write_json(out / "scores.json", result)
    return result
