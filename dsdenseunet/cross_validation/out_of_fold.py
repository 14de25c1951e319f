"""Each case predicted by the runs that have not trained on it, and all of them scored in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.failures import Failure
from dsdenseunet.core.words import counted
from dsdenseunet.cross_validation.runs import Run
from dsdenseunet.data.cache import Cache
from dsdenseunet.data.scans import walk
from dsdenseunet.data.scans.layouts import natural_key
from dsdenseunet.evaluation.folder import Set, evaluate_set
from dsdenseunet.evaluation.pairing import FilePair
from dsdenseunet.inference.folder import Outcome, predict_folder
from dsdenseunet.inference.scans import SUFFIXES, Scan, prediction_name
from dsdenseunet.reporting.score_lines import score_lines
from dsdenseunet.reporting.score_page import write_score_page
from dsdenseunet.tasks.task import Task
from dsdenseunet.training import temperature, trained

FOLDER, PREDICTIONS = "out_of_fold", "predictions"


def evaluate(
    runs: Sequence[Run],
    held_out: Mapping[int, Sequence[str]],
    out: Path,
    workers: int,
    save_probabilities: bool = True,
) -> dict[str, Any]:
    """Writes predictions, their scores and each run's temperature; prints the scores.

    The scans are those that the cache was made from, predicted as `experiments.predict` does; where a fold
    has several runs, their class probabilities are averaged. Predictions and scores that are current are
    kept. A case that cannot be predicted or scored is named, and left out.

    Args:
        runs: trained.
        held_out: by fold, the cases that its runs have not trained on.
        out: folder to write to.
        workers: cases scored at once.
        save_probabilities: whether they are kept; without them there is neither calibration nor temperature.

    Returns:
        what scores.json holds.

    Raises:
        InputError: no case is held out.
    """
    cache, task = Cache.open(runs[0].config.data.cache), Task.of(runs[0].config.task)
    if not any(held_out.values()):
        raise InputError(
            "--out_of_fold",
            found="a run that holds no case out (config.data.explicit.validation is empty)",
            expected="cases that it has not trained on",
            fix="leave it out, or score other cases: experiments.predict, then experiments.evaluate",
        )
    named = bool(runs[0].config.data.explicit.train)
    scans: dict[str, Scan] = {}
    facts: dict[str, dict[str, str]] = {}
    failed: list[Failure] = []
    for fold, names in held_out.items():
        members = [run.workdir for run in runs if run.config.data.fold == fold]
        of_fold = {name: _scan(cache, name) for name in names}
        print(f"{counted(len(names), 'case')} by {' and '.join(map(str, members))}", flush=True)
        failures = f"failures-fold{fold}.json"
        outcome = _predict(members, list(of_fold.values()), out / PREDICTIONS, failures, save_probabilities)
        print(outcome.summary(), flush=True)
        failed += outcome.failures
        lost = {failure.scan for failure in outcome.failures}
        of_fold = {name: scan for name, scan in of_fold.items() if str(scan.image) not in lost}
        told = {"fold": "" if named else str(fold), "runs": "; ".join(map(str, members))}
        facts |= dict.fromkeys(of_fold, told)
        scans |= of_fold
    pairs = [
        FilePair(name, prediction, Path(cache.record(name).labels.path), walk.probabilities_of(prediction))
        for name, scan in sorted(scans.items(), key=lambda named: natural_key(named[0]))
        for prediction in [out / PREDICTIONS / (scan.name + SUFFIXES[0])]
    ]
    images = {name: scan.image for name, scan in scans.items()}
    references = f"the labels that {cache.root} was made from"
    scored = Set(str(out / PREDICTIONS), references, pairs, images, facts=facts, failures=failed)
    result = evaluate_set(scored, out, workers=workers, task=task)
    if found := result["calibration"]:
        worth = {
            kind: {name: found[kind][name] for name in ("ece", "nll")}
            for kind in ("as_saved", "with_temperature")
        }
        for run in runs:
            temperature.write(
                run.workdir, found["temperature"], scores=str(out), cases=found["cases"], **worth
            )
    for line in score_lines(result):
        print(line)
    total = sum(map(len, held_out.values()))
    print(f"{counted(result['cases'], 'case')} of {total} held out; {write_score_page(out)}")
    return result


def _scan(cache: Cache, name: str) -> Scan:
    return Scan(tuple(Path(image.path) for image in cache.record(name).images), prediction_name(name))


def _predict(
    members: Sequence[Path], scans: Sequence[Scan], folder: Path, failures_name: str, save_probabilities: bool
) -> Outcome:
    predictor = trained.load([str(member) for member in members]).segmenter
    return predict_folder(
        [predictor.on(device) for device in jax.local_devices()],
        scans,
        folder,
        failures_name=failures_name,
        save_probabilities=save_probabilities and predictor.has_probabilities,
    )
