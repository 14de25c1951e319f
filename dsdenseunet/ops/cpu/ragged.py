"""Groups of rows of different lengths, stored one after the other, and their padded form."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def pad_rows(flat: Array, sizes: tuple[int, ...], width: int) -> Array:
    """Spreads groups of rows over equally long, zero-filled ones.

    Args:
        flat: (sum(sizes), ...), group after group.
        sizes: rows of each group, at most `width`.
        width: rows of each group in the result.

    Returns:
        (len(sizes), width, ...).
    """
    sources = np.full((len(sizes), width), sum(sizes))
    for group, start in enumerate(_starts(sizes)):
        sources[group, : sizes[group]] = start + np.arange(sizes[group])
    with_zeros = jnp.concatenate([flat, jnp.zeros_like(flat[:1])])
    return jnp.take(with_zeros, sources, axis=0)


def _forward(flat: Array, sizes: tuple[int, ...], width: int) -> tuple[Array, None]:
    return pad_rows(flat, sizes, width), None


def _backward(sizes: tuple[int, ...], width: int, _: None, gradient: Array) -> tuple[Array]:
    # Every row has one place, so that its gradient is fetched from there; autodiff would scatter and add.
    places = np.concatenate([group * width + np.arange(size) for group, size in enumerate(sizes)])
    return (jnp.take(gradient.reshape(-1, *gradient.shape[2:]), places, axis=0),)


pad_rows.defvjp(_forward, _backward)


def split_rows(flat: Array, sizes: tuple[int, ...]) -> list[Array]:
    """The groups themselves, each (size, ...)."""
    return [flat[start : start + size] for start, size in zip(_starts(sizes), sizes)]


def _starts(sizes: tuple[int, ...]) -> list[int]:
    return [0, *np.cumsum(sizes)[:-1].tolist()]
