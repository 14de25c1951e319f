"""Full 3D convolutions on channels-last volumes, padded by k // 2 on both sides."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

Stride = tuple[int, int, int]


def conv3d(x_BDHWC: Array, kernel: Array, stride: Stride = (1, 1, 1)) -> Array:
    """Cross-correlates every input channel with every output channel.

    Args:
        x_BDHWC: input.
        kernel: (kd, kh, kw, C_in, C_out), odd sides.
        stride: step along (D, H, W).

    Returns:
        (B, ceil(D / sd), ceil(H / sh), ceil(W / sw), C_out), of the input's type.
    """
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
