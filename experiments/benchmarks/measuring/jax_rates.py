"""What a device's rates are measured by: matrix products, and reading and writing memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# In one call, one after the other.
PASSES = 20


class Products:
    """`PASSES` products of square matrices of random numbers, one after the other."""

    def __init__(self, side: int, dtype: str):
        keys = jax.random.split(jax.random.key(0))
        # Products of these neither grow nor vanish.
        values, factor = (jax.random.normal(key, (side, side), jnp.dtype(dtype)) for key in keys)
        self._operands = values, (factor / np.sqrt(side)).astype(dtype)
        self._compute = jax.jit(_products)

    def run(self) -> None:
        """All of them."""
        jax.block_until_ready(self._compute(*self._operands))

    def outputs(self) -> dict[str, np.ndarray]:
        """Nothing to compare."""
        return {}


def _products(values: jax.Array, factor: jax.Array) -> jax.Array:
    return jax.lax.fori_loop(0, PASSES, lambda _, product: product @ factor, values)


class Copies:
    """`PASSES` times an array is read and written."""

    def __init__(self, gib: float):
        self._values = jnp.zeros(int(gib * 2**30) // 4, jnp.float32)
        self._compute = jax.jit(_copies)

    def run(self) -> None:
        """All of them."""
        jax.block_until_ready(self._compute(self._values))

    def outputs(self) -> dict[str, np.ndarray]:
        """Nothing to compare."""
        return {}


def _copies(values: jax.Array) -> jax.Array:
    return jax.lax.fori_loop(0, PASSES, lambda _, copy: copy + 1, values)


def tasks(
    dtypes: Sequence[str], side: int, gib: float
) -> list[tuple[str, str, Callable[[], Products | Copies], int]]:
    """What a rate is of (a type, or `bytes`), its case, its task, and how much of it one call does.

    Args:
        dtypes: of the products.
        side: of their matrices.
        gib: of the array that is copied.
    """
    found: list[tuple[str, str, Callable[[], Any], int]] = [
        (dtype, f"{dtype} matrix product", functools.partial(Products, side, dtype), 2 * PASSES * side**3)
        for dtype in dtypes
    ]
    return [*found, ("bytes", "memory", functools.partial(Copies, gib), int(2 * PASSES * gib * 2**30))]
