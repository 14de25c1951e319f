"""Folder prediction with reading, computing and writing overlapped, and one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from dsdenseunet.core.errors import InputError
from dsdenseunet.inference.folder import Outcome, predict_folder
from dsdenseunet.inference.predict import Predictor
from dsdenseunet.inference.scans import Scan
from experiments.benchmarks.measuring.pairs import Spread

# The order within a round changes from round to round, so that a drift of the load falls on both.
MODES = {"overlapped": True, "one after the other": False}


def measure(
    predictors: Sequence[Predictor], scans: Sequence[Scan], rounds: int, say: Callable[[str], object]
) -> dict[str, Any]:
    """Segments the scans once to compile and to fill the page cache, then in both modes in every round.

    Args:
        predictors: one a device, as `predict_folder` takes them.
        scans: what to segment, anew every time.
        rounds: how often both modes are measured.
        say: told of each run, a line each.

    Returns:
        Plain values: for each mode the seconds of each run, by the clock and by stage, and scans an hour;
        `ratio`, of the seconds one after the other to those overlapped in the same round; the load.

    Raises:
        InputError: a scan could not be segmented.
    """
    load = psutil.getloadavg()
    _run(predictors, scans, pipelined=True)
    runs: dict[str, list[Outcome]] = {mode: [] for mode in MODES}
    for number in range(rounds):
        for mode in list(MODES)[:: 1 if number % 2 == 0 else -1]:
            outcome = _run(predictors, scans, pipelined=MODES[mode])
            runs[mode].append(outcome)
            say(f"round {number + 1}, {mode}: {outcome.summary()}")
    overlapped, serial = (runs[mode] for mode in MODES)
    ratios = [slow.wall_seconds / fast.wall_seconds for fast, slow in zip(overlapped, serial)]
    return {
        "scans": len(scans),
        "devices": len(predictors),
        "rounds": rounds,
        "ratio": Spread.of(ratios).as_json(),
        "modes": {mode: _summary(outcomes, len(scans)) for mode, outcomes in runs.items()},
        "load_at_start": load,
        "load_at_end": psutil.getloadavg(),
    }


def _run(predictors: Sequence[Predictor], scans: Sequence[Scan], pipelined: bool) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        outcome = predict_folder(
            predictors, scans, Path(folder), pipelined=pipelined, report=lambda line: None
        )
    for failure in outcome.failures:
        raise InputError(
            failure.scan,
            found=f"{failure.error} at {failure.stage}: {failure.message}",
            expected="scans that can be segmented",
            fix="repair it or leave it out",
        )
    return outcome


def _summary(outcomes: Sequence[Outcome], scans: int) -> dict[str, Any]:
    wall = [outcome.wall_seconds for outcome in outcomes]
    stages = outcomes[0].seconds
    return {
        "wall_s": Spread.of(wall).as_json(),
        "scans_per_hour": Spread.of([3600 * scans / seconds for seconds in wall]).as_json(),
        "stage_s": {
            stage: Spread.of([outcome.seconds[stage] for outcome in outcomes]).as_json() for stage in stages
        },
        "samples_wall_s": [float(f"{seconds:.5g}") for seconds in wall],
    }


def markdown(record: Mapping[str, Any]) -> str:
    """The table of docs/how-to/predict.md; both modes, seconds by stage summed over the scans."""
    modes = record["modes"]
    stages = list(next(iter(modes.values()))["stage_s"])
    lines = [
        f"| {record['scans']} scans | seconds | scans an hour | {' | '.join(stages)} |",
        "|---" * (3 + len(stages)) + "|",
    ]
    for mode, values in modes.items():
        seconds = [f"{values['stage_s'][stage]['median']:.1f}" for stage in stages]
        wall, rate = (Spread(**values[name]) for name in ("wall_s", "scans_per_hour"))
        lines.append(f"| {mode} | {wall} | {rate.median:.0f} | {' | '.join(seconds)} |")
    ratio = Spread(**record["ratio"])
    return "\n".join([*lines, "", f"One after the other takes {ratio} times the seconds of overlapped."])
