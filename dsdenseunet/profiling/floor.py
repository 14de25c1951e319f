"""The speeds that a device reaches, from which the least time follows that a step can take."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

# Sides of what is measured with, by the kind of device: beyond a processor's caches, within a second.
_COPIED = {"cpu": 2**24, "gpu": 2**27}
_MULTIPLIED = {"cpu": 1024, "gpu": 8192}
_TRIES = 3


@dataclasses.dataclass(frozen=True)
class Speed:
    """What a device has reached in a copy and in a product of matrices.

    Attributes:
        bytes_a_s: read and written.
        operations_a_s: multiplications and additions of float32, or of bfloat16 where it was asked for.
    """

    bytes_a_s: float
    operations_a_s: float


def measured(dtype: str) -> Speed:
    """Of the first device, the best of a few tries; takes about a second."""
    kind = jax.default_backend()
    numbers = jnp.zeros(_COPIED.get(kind, _COPIED["gpu"]), jnp.float32)
    side = _MULTIPLIED.get(kind, _MULTIPLIED["gpu"])
    matrix = jnp.full((side, side), 1 / side, dtype)
    size = numbers.nbytes
    # In place: new memory would have to be asked for.
    copy_s = _fastest(jax.jit(lambda x: x + 1, donate_argnums=0), numbers)
    product_s = _fastest(jax.jit(lambda x: x @ x), matrix)
    return Speed(2 * size / copy_s, 2 * side**3 / product_s)


def _fastest(function: Callable[[jax.Array], jax.Array], argument: jax.Array) -> float:
    argument = function(argument).block_until_ready()
    seconds = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        argument = function(argument).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
