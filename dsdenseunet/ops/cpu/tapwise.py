"""Stride-1 convolutions as one matrix product a kernel tap, for CPUs.

Each tap meets the map shifted by its offset. For small maps of many channels: the kernel, larger than the
maps, is read where it lies, not transposed or transformed, and next to nothing is kept on the way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from dsdenseunet.ops.axes import pad_for


def conv(x_BDHWC: Array, kernel: Array) -> Array:
    """`ops.conv.conv3d` with stride 1."""
    return _sum_over_taps(x_BDHWC, kernel, _offsets(kernel.shape), 0)


def input_gradient(gradient_BDHWC: Array, kernel: Array) -> Array:
    """Gradient of `conv` by its input."""
    return _sum_over_taps(gradient_BDHWC, kernel, _offsets(kernel.shape)[::-1], 1)


def filter_gradient(x_BDHWC: Array, gradient_BDHWC: Array, size: Sequence[int]) -> Array:
    """Gradient of `conv` by its kernel, (*size, C_in, C_out)."""
    columns = x_BDHWC.reshape(-1, x_BDHWC.shape[-1]).T
    features = gradient_BDHWC.shape[-1]
    padded = pad_for(gradient_BDHWC, size)

    def tap(offset: Array) -> Array:
        return jnp.dot(columns, _cut(padded, offset, gradient_BDHWC.shape).reshape(-1, features))

    return lax.map(tap, _offsets(size)[::-1]).reshape(*size, -1, features)


def _sum_over_taps(x_BDHWC: Array, kernel: Array, offsets: Array, contracted: int) -> Array:
    """Sum of the shifted map times each tap's (C_in, C_out) matrix, over its axis `contracted`."""
    matrices = kernel.reshape(-1, *kernel.shape[3:])
    padded = pad_for(x_BDHWC, kernel.shape)

    def tap(y_BDHWC: Array, step: tuple[Array, Array]) -> tuple[Array, None]:
        offset, matrix = step
        shifted = _cut(padded, offset, x_BDHWC.shape)
        return y_BDHWC + lax.dot_general(shifted, matrix, (((4,), (contracted,)), ((), ()))), None

    zero = jnp.zeros((*x_BDHWC.shape[:4], matrices.shape[2 - contracted]), x_BDHWC.dtype)
    return lax.scan(tap, zero, (offsets, matrices))[0]


def _offsets(size: Sequence[int]) -> Array:
    """(taps, 3): where in a padded map each tap begins, in the kernel's order."""
    return jnp.asarray(np.indices(size[:3]).reshape(3, math.prod(size[:3])).T)


def _cut(padded_BDHWC: Array, offset: Array, shape: Sequence[int]) -> Array:
    return lax.dynamic_slice(padded_BDHWC, (0, *offset, 0), shape)
