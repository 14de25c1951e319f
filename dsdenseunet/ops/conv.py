"""Full 3D convolutions on channels-last volumes, padded by k // 2 on both sides."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax import Array, lax

from dsdenseunet.ops.winograd import (
    TILE,
    winograd_conv,
    winograd_filter_gradient,
    winograd_input_gradient,
)

Stride = tuple[int, int, int]

# Tiles from which the Winograd form beat the direct one on two AVX2 cores, for values and input gradients and
# for filter gradients: with fewer, each transformed weight is used too seldom.
_TILES_FOR_VALUES = 500
_TILES_FOR_FILTERS = 200


def conv3d(x_BDHWC: Array, kernel: Array, stride: Stride = (1, 1, 1)) -> Array:
    """Cross-correlates every input channel with every output channel.

    On CPUs, 3^3 kernels on float32 maps with enough voxels go through `ops.winograd`; everything else is
    `lax.conv_general_dilated`.

    Args:
        x_BDHWC: input.
        kernel: (kd, kh, kw, C_in, C_out), odd sides.
        stride: step along (D, H, W).

    Returns:
        (B, ceil(D / sd), ceil(H / sh), ceil(W / sw), C_out), of the input's type.
    """
    plain = stride == (1, 1, 1) and kernel.shape[:3] == (3, 3, 3)
    if plain and x_BDHWC.dtype == jnp.float32 and _tiles(x_BDHWC) >= _TILES_FOR_FILTERS:
        return _conv3x3x3(x_BDHWC, kernel)
    return direct_conv(x_BDHWC, kernel, stride)


def direct_conv(x_BDHWC: Array, kernel: Array, stride: Stride = (1, 1, 1)) -> Array:
    """`lax.conv_general_dilated`, the reference for `conv3d`."""
    return lax.conv_general_dilated(
        x_BDHWC,
        kernel,
        window_strides=stride,
        padding=[(k // 2, k // 2) for k in kernel.shape[:3]],
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
    )


def pointwise_conv(x_BDHWC: Array, kernel: Array) -> Array:
    """A 1^3 convolution as one matrix product; `kernel` is (1, 1, 1, C_in, C_out)."""
    return jnp.dot(x_BDHWC, kernel[0, 0, 0])


def _tiles(x_BDHWC: Array) -> int:
    batch, depth, height, width, _ = x_BDHWC.shape
    return batch * (depth + 2) * math.ceil(height / TILE) * math.ceil(width / TILE)


# The platform is chosen inside the rules of differentiation: a gradient through `platform_dependent` would
# keep what every branch needs.
@jax.custom_vjp
def _conv3x3x3(x_BDHWC: Array, kernel: Array) -> Array:
    if _tiles(x_BDHWC) < _TILES_FOR_VALUES:
        return direct_conv(x_BDHWC, kernel)
    return lax.platform_dependent(x_BDHWC, kernel, cpu=winograd_conv, default=direct_conv)


def _forward(x_BDHWC: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _conv3x3x3(x_BDHWC, kernel), (x_BDHWC, kernel)


def _backward(residuals: tuple[Array, Array], gradient_BDHWC: Array) -> tuple[Array, Array]:
    def direct_input(x: Array, kernel: Array, gradient: Array) -> Array:
        (result,) = jax.linear_transpose(functools.partial(direct_conv, kernel=kernel), x)(gradient)
        return result

    def direct_filter(x: Array, kernel: Array, gradient: Array) -> Array:
        (result,) = jax.linear_transpose(functools.partial(direct_conv, x), kernel)(gradient)
        return result

    def winograd_input(x: Array, kernel: Array, gradient: Array) -> Array:
        return winograd_input_gradient(gradient, kernel)

    def winograd_filter(x: Array, kernel: Array, gradient: Array) -> Array:
        return winograd_filter_gradient(x, gradient)

    x_BDHWC, kernel = residuals
    tiles = _tiles(x_BDHWC)
    by_input = winograd_input if tiles >= _TILES_FOR_VALUES else direct_input
    operands = (x_BDHWC, kernel, gradient_BDHWC)
    return (
        lax.platform_dependent(*operands, cpu=by_input, default=direct_input),
        lax.platform_dependent(*operands, cpu=winograd_filter, default=direct_filter),
    )


_conv3x3x3.defvjp(_forward, _backward)
