"""Scoring a folder of predictions: in parallel, with progress, going on where it was interrupted."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from dsdenseunet import files
from dsdenseunet.evaluation.case import CaseScore
from dsdenseunet.evaluation.pairing import FilePair
from dsdenseunet.evaluation.reading import score_files

CASES = "cases"


def score_pairs(
    pairs: Sequence[FilePair], out: str | os.PathLike[str], modes: Sequence[str], workers: int
) -> dict[str, dict[str, CaseScore]]:
    """Scores pairs of files, or takes what `out`/cases already holds for the same contents and code.

    Args:
        pairs: files of each case.
        out: folder of the results; scores of each case are kept in its `cases`.
        modes: modes to score.
        workers: processes; 1 scores in this one.

    Returns:
        scores by case name and mode, in the order of `pairs`.

    Raises:
        InputError: a pair that can't be scored; what others gave is kept.
    """
    version = _code_version()
    kept = Path(out) / CASES
    jobs = [(pair, kept / f"{pair.name}.json", tuple(modes), version) for pair in pairs]
    scores = {}
    with tqdm(total=len(jobs), unit="case", desc="scoring", disable=None) as progress:
        for name, score in _results(jobs, workers):
            scores[name] = score
            progress.update()
    return {pair.name: scores[pair.name] for pair in pairs}


_Job = tuple[FilePair, Path, tuple[str, ...], str]
_Result = tuple[str, dict[str, CaseScore]]


def _results(jobs: Sequence[_Job], workers: int) -> Iterator[_Result]:
    if workers <= 1 or len(jobs) <= 1:
        yield from map(_score, jobs)
        return
    # Forking a process that has threads, as numerical libraries do, can deadlock.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        futures = [pool.submit(_score, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _score(job: _Job) -> _Result:
    pair, path, modes, version = job
    key = {
        "prediction": files.sha256(pair.prediction),
        "reference": files.sha256(pair.reference),
        "modes": list(modes),
        "code": version,
    }
    if path.exists():
        record = files.read_json(path)
        if record["key"] == key:
            return pair.name, {mode: CaseScore.from_json(record["scores"][mode]) for mode in modes}
    scores = score_files(pair, modes)
    record = {"key": key, "scores": {mode: score.to_json() for mode, score in scores.items()}}
    files.write_json(path, record)
    return pair.name, scores


def _code_version() -> str:
    """SHA-256 over the scoring code, so that a changed rule never meets an older number."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
