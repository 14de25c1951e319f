"""From a benchmark's result to the rows that dsdenseunet/ops/depthwise_choice.py should have."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from dsdenseunet.ops.depthwise_choice import Kind

_FORMS = ("grouped", "shifted", "pallas")
_CASE = re.compile(r"(?:(\d+) x \()?(\d+) x (\d+) x (\d+)\)?, (\d+)( by 2)?, fwd\+bwd")


def rows(record: Mapping[str, Any]) -> dict[Kind, tuple[tuple[int, str], ...]]:
    """For each type and stride the fastest form by the size of the input, forward and backward together.

    A size from which another form is faster lies in the middle, as factors go, between two measured ones.

    Args:
        record: what `experiments.benchmarks.cpu` or `experiments.benchmark_gpu` wrote; empty where it has no
            depthwise convolution, forward and backward.
    """
    hardware = record["provenance"]["hardware"]
    major = (hardware.get("compute_capability") or [None])[0]
    milliseconds: dict[Kind, dict[int, dict[str, float]]] = {}
    for found in record["results"]:
        match = _CASE.fullmatch(found.get("convolution", found["case"]))
        if found["part"] != "depthwise" or not match:
            continue
        *shape, _ = match.groups(default="1")
        stride = (1, 2, 2) if match[6] else (1, 1, 1)
        kind = Kind(hardware["backend"], major, found.get("dtype", "float32"), stride)
        times = milliseconds.setdefault(kind, {}).setdefault(math.prod(map(int, shape)), {})
        for side, seconds in found["seconds"].items():
            # `experiments.benchmarks.cpu` times `auto`, which is `shifted` on CPUs.
            form = "shifted" if side == "ours" else side
            if form in _FORMS:
                times[form] = 1e3 * seconds["wall_s"]["median"]
    return {kind: _thresholds(times) for kind, times in milliseconds.items()}


def _thresholds(times: Mapping[int, Mapping[str, float]]) -> tuple[tuple[int, str], ...]:
    found: list[tuple[int, str]] = []
    last = 0
    for size in sorted(times):
        form = min(times[size], key=lambda name: times[size][name])
        if not found or found[-1][1] != form:
            found.append((round(math.sqrt(last * size)), form))
        last = size
    return tuple(found)


def source(found: Mapping[Kind, tuple[tuple[int, str], ...]]) -> str:
    """The rows as lines of Python, to be pasted into the table."""
    lines = []
    for kind, by_size in found.items():
        pairs = "".join(f'({least}, "{form}"), ' for least, form in by_size).strip()
        lines.append(f'    Kind("{kind.platform}", {kind.major}, "{kind.dtype}", {kind.stride}): ({pairs}),')
    return "\n".join(lines)
