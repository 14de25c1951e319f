"""Pooling on channels-last volumes."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

from dsdenseunet.ops.axes import interleave, shift


def max_pool(x_BDHWC: Array, axes: Sequence[int] = (1, 2, 3)) -> Array:
    """Maximum over windows of 3 at a stride of 2 along `axes`, padded by one voxel on both sides.

    What is padded with is the lowest value. The gradient goes to the first voxel of a window, in the order
    (D, H, W), that has its maximum, as that of `lax.reduce_window` does. One axis after the other, innermost
    first, in elementwise passes: XLA's CPU backend visits windows one by one, and keeps the place of each
    maximum to find the gradient's.

    Args:
        x_BDHWC: any float type; kept.
        axes: of 1, 2, 3 = D, H, W.

    Returns:
        (B, ceil(D / 2), ceil(H / 2), ceil(W / 2), C) where all axes are pooled.
    """
    for axis in sorted(axes, reverse=True):
        x_BDHWC = _halve(x_BDHWC, axis)
    return x_BDHWC


def max_pool_pairs(x_BDHWC: Array, axes: Sequence[int]) -> Array:
    """Maximum over windows of 2 at a stride of 2 along `axes`, whose sizes are even."""
    for axis in sorted(axes, reverse=True):
        x_BDHWC = jnp.maximum(*_pairs(x_BDHWC, axis))
    return x_BDHWC


def average_pool_pairs(x_BDHWC: Array, axes: Sequence[int]) -> Array:
    """Mean over windows of 2 at a stride of 2 along `axes`, whose sizes are even."""
    for axis in sorted(axes, reverse=True):
        first, second = _pairs(x_BDHWC, axis)
        x_BDHWC = (first + second) / 2
    return x_BDHWC


def _pairs(x: Array, axis: int) -> tuple[Array, Array]:
    size = x.shape[axis]
    return lax.slice_in_dim(x, 0, size, 2, axis), lax.slice_in_dim(x, 1, size, 2, axis)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _halve(x: Array, axis: int) -> Array:
    before, middle, after = _windows(x, axis)
    return jnp.maximum(jnp.maximum(before, middle), after)


def _forward(x: Array, axis: int) -> tuple[Array, Array]:
    return _halve(x, axis), x


def _backward(axis: int, x: Array, gradient: Array) -> tuple[Array]:
    before, middle, after = _windows(x, axis)
    first = (before >= middle) & (before >= after)
    second = ~first & (middle >= after)
    zero = jnp.zeros((), gradient.dtype)
    even = jnp.where(second, gradient, zero)
    # What lies before a window's middle is what lies after that of the window before.
    odd = jnp.where(first | second, zero, gradient) + shift(jnp.where(first, gradient, zero), axis, -1)
    return (lax.slice_in_dim(interleave([even, odd], axis), 0, x.shape[axis], axis=axis),)


_halve.defvjp(_forward, _backward)


def _windows(x: Array, axis: int) -> tuple[Array, Array, Array]:
    """The three voxels of each window along an axis: 2i - 1, 2i, 2i + 1."""
    size = x.shape[axis]
    even = lax.slice_in_dim(x, 0, size, 2, axis)
    odd = lax.slice_in_dim(x, 1, size, 2, axis)
    missing = even.shape[axis] - odd.shape[axis]
    lowest = jnp.array(-jnp.inf, x.dtype)
    after = lax.pad(odd, lowest, [(0, missing if a == axis else 0, 0) for a in range(x.ndim)])
    return shift(after, axis, 1, -jnp.inf), even, after
