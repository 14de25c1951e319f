"""All parts of MedNeXt's benchmark one after the other, and the record of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dsdenseunet.training import provenance
from experiments.benchmarks.measuring.targets import MEDNEXT_TARGETS
from experiments.benchmarks.on_cpu import all_parts, depthwise_alone, mednext, rates
from experiments.benchmarks.on_cpu.mednext_setting import Setting

PARTS: dict[str, Callable[[Setting], Sequence[Any]]] = {
    "rates": rates.rates,
    "inference": mednext.inference,
    "step": mednext.step,
    "depthwise": depthwise_alone.depthwise,
}


def run(setting: Setting, names: Sequence[str], save: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Measures the named parts.

    Args:
        setting: what is measured.
        names: of `PARTS`.
        save: given, after each part, all that there is: `results`, `targets`, `provenance`.

    Returns:
        The record.

    Raises:
        RuntimeError: ours and the peer do not compute the same, or a side failed.
    """
    config = setting.mednext(setting.kernels[0], setting.shapes[0])
    made = provenance.gather(config, "noise and smooth shapes from seed 0")
    return all_parts.measure(
        [lambda name=name: PARTS[name](setting) for name in names],  # type: ignore[misc]
        {"rounds": setting.rounds, "provenance": made},
        MEDNEXT_TARGETS,
        setting.say,
        save,
        rates.beside_their_floors,
    )
