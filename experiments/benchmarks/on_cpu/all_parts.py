"""All parts one after the other, and the record of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from dsdenseunet.runtime import environment
from dsdenseunet.training import provenance
from experiments.benchmarks.measuring import depthwise_choices, pipeline_task
from experiments.benchmarks.measuring.targets import TARGETS, Target, judge
from experiments.benchmarks.on_cpu import comparisons, compiling

PARTS: dict[str, Callable[[comparisons.Setting], Sequence[Any]]] = {
    "depthwise": comparisons.depthwise,
    "conv": comparisons.convolution,
    "step": comparisons.step,
    "inference": comparisons.inference,
    "pipeline": comparisons.pipeline,
    "compile": compiling.compilation,
}
_HEADING = (
    f"{'part':<10} {'case':<34} {'ours':>13} {'theirs':>13}  {'theirs':<32} "
    f"{'ours / theirs':<26} processor seconds, ours / theirs"
)
Results = list[dict[str, Any]]


def run(
    config: Mapping[str, Any],
    names: Sequence[str],
    rounds: int,
    say: Callable[[str], None],
    save: Callable[[dict[str, Any]], None],
) -> None:
    """Measures the named comparisons.

    Args:
        config: a resolved config as plain values; `model.separable` is set both ways.
        names: of `PARTS`.
        rounds: how often the sides take turns at whole networks.
        say: told of each result as it comes, a line each.
        save: given, after each part, all that there is: `results`, `targets`, `provenance`.

    Raises:
        RuntimeError: ours and the peer do not compute the same, or a side failed.
    """
    data = f"phantoms, seed 0: {pipeline_task.CASES} of {pipeline_task.SIZE}; random patches"
    with tempfile.TemporaryDirectory() as folder:
        setting = comparisons.Setting(config, rounds, Path(folder), say)
        record = measure(
            [lambda name=name: PARTS[name](setting) for name in names],  # type: ignore[misc]
            {"rounds": rounds, "provenance": provenance.gather(dict(config), data)},
            TARGETS,
            say,
            save,
        )
    if rows := depthwise_choices.rows(record):
        say(f"dsdenseunet/ops/depthwise_choice.py should have\n{depthwise_choices.source(rows)}")


def measure(
    parts: Sequence[Callable[[], Sequence[Any]]],
    made_with: dict[str, Any],
    targets: Sequence[Target],
    say: Callable[[str], None],
    save: Callable[[dict[str, Any]], None],
    completed: Callable[[Results], Results] = list,
) -> dict[str, Any]:
    """Runs the parts, and says last how the targets are met.

    Args:
        parts: each gives its results.
        made_with: `provenance`, and whatever else the record is to hold.
        targets: that the results are held to.
        say: told of each result as it comes, a line each.
        save: given, after each part, the record so far.
        completed: the results so far with what is known only of several of them.

    Returns:
        The record.
    """
    record: dict[str, Any] = {"targets": [], "results": [], **made_with}
    made = record["provenance"]
    made["versions"]["torch"] = environment.installed_version("torch")
    made["load_at_start"] = psutil.getloadavg()
    say(_HEADING)
    for part in parts:
        found = [result if isinstance(result, dict) else result.as_json() for result in part()]
        record["results"] = completed([*record["results"], *found])
        record["targets"] = judge(record["results"], targets)
        made["load_at_end"] = psutil.getloadavg()
        save(record)
    say("")
    for target in record["targets"]:
        word = "met   " if target["met"] else "MISSED"
        say(f"{word} {target['target']}; measured {target['measured']} ({target['case']})")
    return record
