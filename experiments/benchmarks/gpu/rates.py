"""The rates that a device reaches: bfloat16 multiplications, and reading and writing its memory."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.gpu.setting import Setting
from experiments.benchmarks.measuring.pairs import Spread
from experiments.benchmarks.measuring.worker import Worker

_PASSES = 20


class Products:
    """`_PASSES` products of square bfloat16 matrices of random numbers, one after the other."""

    def __init__(self, side: int):
        keys = jax.random.split(jax.random.key(0))
        # Products of these neither grow nor vanish.
        values, factor = (jax.random.normal(key, (side, side), jnp.bfloat16) for key in keys)
        self._operands = values, (factor / np.sqrt(side)).astype(jnp.bfloat16)
        self._compute = jax.jit(_products)

    def run(self) -> None:
        """All of them."""
        jax.block_until_ready(self._compute(*self._operands))

    def outputs(self) -> dict[str, np.ndarray]:
        """Nothing to compare."""
        return {}


def _products(values: jax.Array, factor: jax.Array) -> jax.Array:
    return jax.lax.fori_loop(0, _PASSES, lambda _, product: product @ factor, values)


class Copies:
    """`_PASSES` times an array is read and written."""

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
    return jax.lax.fori_loop(0, _PASSES, lambda _, copy: copy + 1, values)


def device(setting: Setting) -> Iterator[dict[str, Any]]:
    """Operations a second (two a multiply-add) and bytes a second (those read and those written)."""
    side, gib = setting.amounts.matrix, setting.amounts.copied_gib
    tasks = (
        ("operations_per_s", "bfloat16 matrix product", functools.partial(Products, side), 2 * side**3),
        ("bytes_per_s", "memory", functools.partial(Copies, gib), 2 * gib * 2**30),
    )
    with Worker("ours") as worker:
        for rate, case, make_task, amount in tasks:
            worker.load(make_task, limit_s=setting.left_s())
            rates = [_PASSES * amount / worker.sample().wall_s for _ in range(3 * setting.rounds)]
            found = Spread.of(rates)
            setting.say(f"{case}: {found.median:.3g} {rate.replace('_per_s', ' a second')}")
            yield {"part": "device", "case": case, rate: found.as_json()}
