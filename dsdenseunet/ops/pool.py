"""Max pooling on channels-last volumes."""

from __future__ import annotations

from flax import linen as nn
from jax import Array


def max_pool(x_BDHWC: Array, size: int, stride: int) -> Array:
    """Maximum over size^3 windows, padded by size // 2 on both sides with the lowest value."""
    pad = size // 2
    return nn.max_pool(x_BDHWC, (size,) * 3, (stride,) * 3, ((pad, pad),) * 3)
