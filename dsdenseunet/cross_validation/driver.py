"""Trains runs one after the other, then predicts and scores what each fold has held out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsdenseunet.cross_validation.runs import Run, held_out
from dsdenseunet.runtime import parallel
from dsdenseunet.runtime.clock import seconds_since_start
from dsdenseunet.training import cascade
from dsdenseunet.training.interruption import StopRequest


def train(runs: Sequence[Run], extend_to: int | None = None, note: str = "") -> None:
    """Trains every run that is not finished, and goes on with those that were stopped.

    What would stop a later one is looked for before the first begins. The first run that is interrupted or
    fails ends all.

    Args:
        runs: as `runs.of_command` gives them.
        extend_to: see `cascade.run`.
        note: what is printed first.

    Raises:
        InputError: as `cascade.run` and `runs.held_out`.
        Interrupted: as `cascade.run`.
        NonFiniteLossError: as `cascade.run`.
    """
    if len(runs) > 1:
        held_out(runs)
    if note and parallel.process_index() == 0:
        print(note, flush=True)
    with StopRequest() as stop:
        for number, run in enumerate(runs, 1):
            if len(runs) > 1 and parallel.process_index() == 0:
                print(f"run {number} of {len(runs)}: {run.workdir}", flush=True)
            # A run's own time begins where the one before it has ended.
            earlier_s = seconds_since_start() if number > 1 else 0.0
            cascade.run(run.config, run.workdir, extend_to, earlier_s, stop)
            # A signal that came too late for this run's steps.
            if number < len(runs) and stop.agreed():
                raise stop.interrupted(f"the end of {run.workdir}")


def evaluate(
    runs: Sequence[Run], workdir: str | Path, workers: int | None = None, save_probabilities: bool = True
) -> dict[str, Any] | None:
    """Predicts and scores the held-out cases of trained runs into `workdir`/out_of_fold.

    Args:
        runs: trained.
        workdir: folder of them all.
        workers: cases scored at once (None: as many as there are processors).
        save_probabilities: see `out_of_fold.evaluate`.

    Returns:
        what scores.json holds; None where several processes have trained, as only one can do this.
    """
    if parallel.process_count() > 1:
        if parallel.process_index() == 0:
            print("to predict and score the cases that were held out, run the same command in one process")
        return None
    # What predicts, scores and draws takes more than a second to load, which a training need not wait for.
    from dsdenseunet.cross_validation import out_of_fold

    out = Path(workdir) / out_of_fold.FOLDER
    workers = workers or os.cpu_count() or 1
    return out_of_fold.evaluate(runs, held_out(runs), out, workers, save_probabilities)
