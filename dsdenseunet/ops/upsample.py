"""Upsampling by 2, as copies or weighted sums of neighbours."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

from dsdenseunet.ops.axes import interleave


def upsample_linear(x_BDHWC: Array, axes: Sequence[int]) -> Array:
    """Doubles the given axes by linear interpolation (paper, section 3: the upsampling block).

    Half-pixel centres and clamped edges, as `jax.image.resize(..., "linear")` and PyTorch's
    `align_corners=False`: output 2i is 0.25 x[i-1] + 0.75 x[i], output 2i+1 is 0.75 x[i] + 0.25 x[i+1].
    Free of matrix products, which `jax.image.resize` lowers to at highest precision.

    Args:
        x_BDHWC: any float type; kept.
        axes: of 1, 2, 3 = D, H, W.
    """
    # Innermost axis first: the largest maps are then only ever taken apart along D, in whole planes.
    for axis in sorted(axes, reverse=True):
        x_BDHWC = _double(x_BDHWC, axis)
    return x_BDHWC


def upsample_nearest(x_BDHWC: Array, axes: Sequence[int]) -> Array:
    """Doubles the given axes by repeating each value, as Keras' `UpSampling` does; arguments as above."""
    for axis in sorted(axes, reverse=True):
        x_BDHWC = interleave([x_BDHWC, x_BDHWC], axis)
    return x_BDHWC


def upsample_from_corners(x_BDHWC: Array, axes: Sequence[int]) -> Array:
    """Doubles the given axes by linear interpolation as TensorFlow 1 did with `align_corners=False`.

    Values lie on the first of the two voxels that they become: output 2i is x[i], output 2i+1 is 0.5 x[i] +
    0.5 x[i+1], the last value standing in for the one after it.
    """
    for axis in sorted(axes, reverse=True):
        cut = functools.partial(lax.slice_in_dim, x_BDHWC, axis=axis)
        size = x_BDHWC.shape[axis]
        after = jnp.concatenate([cut(1, size), cut(size - 1, size)], axis)
        x_BDHWC = interleave([x_BDHWC, (x_BDHWC + after) / 2], axis)
    return x_BDHWC


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _double(x: Array, axis: int) -> Array:
    size = x.shape[axis]
    cut = functools.partial(lax.slice_in_dim, x, axis=axis)
    before = jnp.concatenate([cut(0, 1), cut(0, size - 1)], axis)
    after = jnp.concatenate([cut(1, size), cut(size - 1, size)], axis)
    return interleave([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis)


def _double_forward(x: Array, axis: int) -> tuple[Array, None]:
    return _double(x, axis), None


def _double_backward(axis: int, _: None, gradient: Array) -> tuple[Array]:
    """The transpose in one pass: four taps at a stride of 2, edges clamped; autodiff's takes five passes."""
    cut = functools.partial(lax.slice_in_dim, gradient, axis=axis)
    size = gradient.shape[axis]
    before = jnp.concatenate([cut(0, 1), cut(1, size - 1, 2)], axis)
    after = jnp.concatenate([cut(2, size, 2), cut(size - 1, size)], axis)
    return (0.75 * (cut(0, size, 2) + cut(1, size, 2)) + 0.25 * (before + after),)


_double.defvjp(_double_forward, _double_backward)
