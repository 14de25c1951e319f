"""Batch normalisation followed by ReLU, as arithmetic on arrays."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array


def moments(x_BDHWC: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel over all other axes: two (C,) float32 arrays.

    In one pass, as Flax's own normalisation does: the variance, never negative, is off by some 1e-7 of the
    mean's square, which shows in channels whose mean is hundreds of times their deviation.
    """
    x = x_BDHWC.astype(jnp.float32)
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    return mean, jnp.maximum((x * x).mean(axes) - mean * mean, 0.0)


def normalise_relu(
    x_BDHWC: Array, mean: Array, variance: Array, scale: Array, bias: Array, epsilon: float
) -> Array:
    """relu((x - mean) / sqrt(variance + epsilon) * scale + bias), each statistic a (C,) float32 array.

    Computed as one multiply-add a value in float32; returned in the input's type.
    """
    factor = scale * jax.lax.rsqrt(variance + epsilon)
    offset = bias - mean * factor
    return jax.nn.relu(x_BDHWC.astype(jnp.float32) * factor + offset).astype(x_BDHWC.dtype)
