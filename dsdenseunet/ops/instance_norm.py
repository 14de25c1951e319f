"""Instance normalisation, as arithmetic on arrays, with a gradient of its own."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax

_VOXELS = (1, 2, 3)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def instance_norm(x_BDHWC: Array, scale: Array, bias: Array, epsilon: float) -> Array:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, of each sample's own voxels a channel.

    The variance is that of the differences from the mean: of maps of few voxels the mean square less the
    squared mean would lose its digits. The gradient is the closed form: two sums over the
    voxels and one more pass, where autodiff's takes five times as long on CPUs. Nothing is reshaped, as XLA's
    CPU backend does not vectorise what it has to find through a reshape.

    Args:
        x_BDHWC: any float type.
        scale: (C,) float32.
        bias: (C,) float32.
        epsilon: added to the variance.

    Returns:
        The normalised map, computed in float32, of the input's type.
    """
    return _forward(x_BDHWC, scale, bias, epsilon)[0]


def _forward(
    x_BDHWC: Array, scale: Array, bias: Array, epsilon: float
) -> tuple[Array, tuple[Array, Array, Array, Array, Array]]:
    x = x_BDHWC.astype(jnp.float32)
    mean = jnp.mean(x, _VOXELS, keepdims=True)
    inverse = lax.rsqrt(jnp.mean(jnp.square(x - mean), _VOXELS, keepdims=True) + epsilon)
    factor = scale * inverse
    y = x * factor + (bias - mean * factor)
    return y.astype(x_BDHWC.dtype), (x_BDHWC, scale, bias, mean, inverse)


def _backward(
    epsilon: float, residuals: tuple[Array, Array, Array, Array, Array], gradient_BDHWC: Array
) -> tuple[Array, Array, Array]:
    del epsilon
    x_BDHWC, scale, bias, mean, inverse = residuals
    x, gradient = x_BDHWC.astype(jnp.float32), gradient_BDHWC.astype(jnp.float32)
    count = x[0, ..., 0].size
    total = jnp.sum(gradient, _VOXELS, keepdims=True)
    # Of the gradient times the normalised map.
    along = jnp.sum(gradient * (x - mean), _VOXELS, keepdims=True) * inverse
    factor = scale * inverse
    slope = -factor * inverse * along / count
    by_input = gradient * factor + x * slope - (factor * total / count + slope * mean)
    by_scale, by_bias = (jnp.sum(values, (0, *_VOXELS)) for values in (along, total))
    return by_input.astype(x_BDHWC.dtype), by_scale.astype(scale.dtype), by_bias.astype(bias.dtype)


instance_norm.defvjp(_forward, _backward)
