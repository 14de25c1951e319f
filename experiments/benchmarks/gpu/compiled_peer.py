"""Ours beside PyTorch's network under torch.compile: its fastest form, which takes long to compile."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from experiments.benchmarks.gpu import weights
from experiments.benchmarks.gpu.networks import KINDS, compare, side_task
from experiments.benchmarks.gpu.setting import Program, Setting
from experiments.benchmarks.gpu.weights import VARIANTS


def programs(setting: Setting) -> list[Program]:
    """PyTorch's side of the first round: its compiler keeps what it makes, too."""
    if not setting.peer:
        return []
    dtype, batch = setting.amounts.dtypes[0], setting.amounts.typical_batch
    return [
        Program(_name(kind, variant), side_task(setting, kind, f"{variant}, compiled", dtype, batch))
        for kind, variant in itertools.product(KINDS, VARIANTS)
    ]


def _name(kind: str, variant: str) -> str:
    return f"PyTorch, {kind}, {variant}, compiled"


def measure(setting: Setting) -> Iterator[dict[str, Any]]:
    """At the typical batch in the first type; in the second round at all others."""
    if not setting.peer:
        return
    weights.ensure(setting)
    amounts = setting.amounts
    for kind in KINDS:
        setting.wait_for(*(_name(kind, variant) for variant in VARIANTS))
        yield from compare(setting, kind, amounts.dtypes[0], [amounts.typical_batch], "compiled")
    if setting.round == 2:
        for dtype, kind, batch in itertools.product(amounts.dtypes, KINDS, amounts.batches):
            yield from compare(setting, kind, dtype, [batch], "compiled")
