"""How much of the card's memory JAX really has."""

from __future__ import annotations

import os
from collections.abc import Mapping

GIB = 2**30
# JAX's default, https://docs.jax.dev/en/latest/gpu_memory_allocation.html.
_DEFAULT_FRACTION = 0.75
_NAMES = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")
# A limit that is nearer to the fraction asked for is that fraction: the driver keeps some memory for itself.
_NEAR = 0.05


def sentence(
    limit_bytes: int | None, card_bytes: int | None, environment: Mapping[str, str] = os.environ
) -> str:
    """What the allocator may use, what was asked for, and what to do where these differ.

    Args:
        limit_bytes: `memory_stats()["bytes_limit"]` of the device; None where it has none.
        card_bytes: memory of the card.
        environment: of the process.
    """
    named = [name for name in _NAMES if environment.get(name)]
    asked = f"{named[0]}={environment[named[0]]}" if named else f"JAX's default of {_DEFAULT_FRACTION}"
    if limit_bytes is None:
        allocator = environment.get("XLA_PYTHON_CLIENT_ALLOCATOR")
        reason = f"XLA_PYTHON_CLIENT_ALLOCATOR={allocator}" if allocator else "this JAX"
        return f"memory: {reason} sets no limit, so that {asked} has no effect"
    text = f"memory: JAX may use {limit_bytes / GIB:.2f} GiB"
    if card_bytes is None:
        return f"{text} ({asked})"
    text += f" of {card_bytes / GIB:.2f} GiB ({asked})"
    fraction = float(environment[named[0]]) if named else _DEFAULT_FRACTION
    if abs(limit_bytes / card_bytes - fraction) <= _NEAR:
        return text
    return (
        f"{text}: that is a share of {limit_bytes / card_bytes:.2f}, so the setting did not act as "
        f"documented; plan with --budget_gib={limit_bytes / GIB:.1f}"
    )
