"""Convolutions as matrix products over unfolded maps, for CPUs.

Unfolding writes next to each other what the kernel meets at each output voxel (im2col). It pays where
the unfolded map is small: strided convolutions, and those of many channels to few, whose *output* is
unfolded.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax

from dsdenseunet.ops.axes import interleave, shift

Triple = tuple[int, int, int]


def conv(x_BDHWC: Array, kernel: Array, stride: Triple) -> Array:
    """`ops.conv.conv3d` as one matrix product with the unfolded input."""
    columns = unfold(x_BDHWC, kernel.shape[:3], stride)
    return jnp.dot(columns, kernel.reshape(-1, kernel.shape[-1]))


def input_gradient(gradient_BDHWC: Array, kernel: Array, stride: Triple, shape: Sequence[int]) -> Array:
    """Gradient of `conv` by its input of `shape`: one matrix product, folded."""
    columns = jnp.dot(gradient_BDHWC, kernel.reshape(-1, kernel.shape[-1]).T)
    return fold(columns, shape[1:4], kernel.shape[:3], stride)


def filter_gradient(x_BDHWC: Array, gradient_BDHWC: Array, size: Sequence[int], stride: Triple) -> Array:
    """Gradient of `conv` by its kernel, (*size, C_in, C_out)."""
    in_channels, features = x_BDHWC.shape[-1], gradient_BDHWC.shape[-1]
    columns = unfold(x_BDHWC, size, stride).reshape(-1, math.prod(size) * in_channels)
    return jnp.dot(columns.T, gradient_BDHWC.reshape(-1, features)).reshape(*size, in_channels, features)


def unfold(x_BDHWC: Array, size: Sequence[int], stride: Triple) -> Array:
    """What a kernel padded by k // 2 meets at each of its positions.

    Args:
        x_BDHWC: input.
        size: (kd, kh, kw), odd.
        stride: step along (D, H, W).

    Returns:
        (B, ceil(D / sd), ceil(H / sh), ceil(W / sw), kd * kh * kw * C): taps in the kernel's order, channels
        innermost.
    """
    for axis, (k, s) in reversed(list(enumerate(zip(size, stride), start=1))):
        length = x_BDHWC.shape[axis]
        pads = [(k // 2, k // 2) if a == axis else (0, 0) for a in range(5)]
        padded = jnp.pad(x_BDHWC, pads)
        taps = [lax.slice_in_dim(padded, t, t + length, s, axis) for t in range(k)]
        x_BDHWC = jnp.concatenate(taps, -1)
    return x_BDHWC


def fold(columns_BDHWK: Array, shape_DHW: Sequence[int], size: Sequence[int], stride: Triple) -> Array:
    """The transpose of `unfold`: adds up what lies at the same voxel.

    Args:
        columns_BDHWK: (B, ceil(D / sd), ceil(H / sh), ceil(W / sw), kd * kh * kw * C).
        shape_DHW: of the map that was unfolded.
        size: (kd, kh, kw), odd.
        stride: step along (D, H, W).

    Returns:
        (B, D, H, W, C).
    """
    for axis, (k, s, length) in enumerate(zip(size, stride, shape_DHW), start=1):
        taps = jnp.split(columns_BDHWK, k, -1)
        # Tap t of output voxel n lies at s * n + t - k // 2: one phase of the stride, shifted.
        phases: list[list[Array]] = [[] for _ in range(s)]
        for t, values in enumerate(taps):
            offset, phase = divmod(t - k // 2, s)
            phases[phase].append(shift(values, axis, offset))
        sums = [functools.reduce(jnp.add, phase) for phase in phases]
        columns_BDHWK = lax.slice_in_dim(interleave(sums, axis), 0, length, axis=axis)
    return columns_BDHWK
