"""From a config and a device to what is alive at the peak of its training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.core.errors import InputError
from dsdenseunet.memory import cards
from dsdenseunet.memory.alive import kinds
from dsdenseunet.memory.planner.compiler import Compiler, has_gpu_compiler
from dsdenseunet.models import registry
from dsdenseunet.models.network import traded
from dsdenseunet.runtime import environment
from dsdenseunet.training.settings import check_config

PROCESSOR = "cpu"
# Of the peak, what is worth to be computed again.
_WORTH = 0.05
_MODULE = "dsdenseunet.memory.alive.program"


def profile(
    config: ConfigDict, device: str, timeout_s: float = 1800.0, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Compiles the training step, in a process of its own, and reads what it holds when; runs nothing.

    Args:
        config: every field of configs/base.py.
        device: a card's name, or "cpu": this machine's processor.
        timeout_s: a compilation that takes longer has failed.
        say: told of progress, a line each.

    Returns:
        Plain values: what `peak.alive` returns and the compiler's `memory`; `config`, `device`, `setting`,
        `lowers`, the options that would lower the peak, and what it all stands on.

    Raises:
        InputError: config or card cannot be used.
        CompilationError: the compiler refused, crashed or took too long.
    """
    check_config(config)
    card = None if device == PROCESSOR else cards.card(device)
    if card is not None and not has_gpu_compiler():
        raise InputError(
            "--device",
            found=f"{device}, for which nothing here can compile",
            expected=f"{PROCESSOR}, or JAX's CUDA plugin, which needs no card",
            fix="install the extra cuda12 (docs/getting-started)",
        )
    found = Compiler(card, say, timeout_s, module=_MODULE).figures("train", config)
    remat, dtype = traded(config.model)
    return {
        "config": config.name,
        "device": device,
        "device_kind": card.device_kind if card else "this machine's processor",
        "setting": {
            "patch": list(config.data.patch_size),
            "batch": config.data.batch_size,
            "accumulate": config.training.accumulate,
            "remat": remat,
            "dtype": dtype,
        },
        **found,
        "lowers": lowers(found, config),
        "provenance": environment.describe(("jax", "jaxlib", "flax", "optax")),
    }


def by_kind(found: Mapping[str, Any]) -> dict[str, int]:
    """Bytes at the peak of each kind, the largest first."""
    sums = {kind: sum(row.get(kind, 0) for row in found["kinds"].values()) for kind in kinds.KINDS}
    return dict(sorted(sums.items(), key=lambda pair: -pair[1]))


def _kept(found: Mapping[str, Any], stages: Sequence[str]) -> int:
    rows = (row for stage, row in found["kinds"].items() if stage.startswith(tuple(stages)))
    return sum(row.get(kinds.KEPT, 0) for row in rows)


def lowers(found: Mapping[str, Any], config: ConfigDict) -> list[str]:
    """The planner's options that lower what there is most of at the peak, a sentence each."""
    network, most = registry.build(config.model), next(iter(by_kind(found)))
    remat, dtype = traded(config.model)
    batch, accumulate = config.data.batch_size, config.training.accumulate
    if most == kinds.PARAMETER:
        return ["a narrower network has fewer weights"]
    if most == kinds.OPTIMIZER:
        return ["sgd keeps one number a weight, adam two", "a narrower network has fewer weights"]
    options = []
    if most == kinds.KEPT:
        options += [
            f"--config.model.remat={name} computes {size / 2**20:,.0f} MiB of them again when they are needed"
            for name, stages in network.remats.items()
            if name != remat and (size := _kept(found, stages)) > _WORTH * found["peak"]["bytes"]
        ]
    if "bfloat16" in network.dtypes and dtype != "bfloat16" and most != kinds.BATCH:
        options.append("--config.model.dtype=bfloat16 takes half the bytes for maps")
    if batch > accumulate:
        parts = next(n for n in range(accumulate + 1, batch + 1) if batch % n == 0)
        options.append(
            f"--config.training.accumulate={parts} runs the same batch in {parts} parts, one after the other"
        )
    return [*options, "a smaller --config.data.patch_size takes in proportion less for maps"]
