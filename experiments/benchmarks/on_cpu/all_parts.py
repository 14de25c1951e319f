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
from experiments.benchmarks.measuring.targets import judge
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
    record = provenance.gather(dict(config), data)
    record["versions"]["torch"] = environment.installed_version("torch")
    record["load_at_start"] = psutil.getloadavg()
    say(_HEADING)
    results: list[dict[str, Any]] = []
    targets: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        setting = comparisons.Setting(config, rounds, Path(folder), say)
        for name in names:
            found = PARTS[name](setting)
            results += [result if isinstance(result, dict) else result.as_json() for result in found]
            targets = judge(results)
            record["load_at_end"] = psutil.getloadavg()
            save({"targets": targets, "results": results, "rounds": rounds, "provenance": record})
    say("")
    for target in targets:
        word = "met   " if target["met"] else "MISSED"
        say(f"{word} {target['target']}; measured {target['measured']} ({target['case']})")
    if rows := depthwise_choices.rows({"results": results, "provenance": record}):
        say(f"dsdenseunet/ops/depthwise_choice.py should have\n{depthwise_choices.source(rows)}")
