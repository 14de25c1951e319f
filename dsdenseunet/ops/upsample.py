"""Linear upsampling by 2, as weighted sums of neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax


def upsample_linear(x_BDHWC: Array, axes: Sequence[int]) -> Array:
    """Doubles the given axes by linear interpolation (paper, section 3: the upsampling block).

    Half-pixel centres and clamped edges, as `jax.image.resize(..., "linear")` and PyTorch's
    `align_corners=False`: output 2i is 0.25 x[i-1] + 0.75 x[i], output 2i+1 is 0.75 x[i] + 0.25 x[i+1].
    Free of matrix products, which `jax.image.resize` lowers to at highest precision.

    Args:
        x_BDHWC: any float type; kept.
        axes: of 1, 2, 3 = D, H, W.
    """
    for axis in axes:
        size = x_BDHWC.shape[axis]
        first = lax.slice_in_dim(x_BDHWC, 0, 1, axis=axis)
        last = lax.slice_in_dim(x_BDHWC, size - 1, size, axis=axis)
        before = jnp.concatenate([first, lax.slice_in_dim(x_BDHWC, 0, size - 1, axis=axis)], axis)
        after = jnp.concatenate([lax.slice_in_dim(x_BDHWC, 1, size, axis=axis), last], axis)
        pair = jnp.stack([0.25 * before + 0.75 * x_BDHWC, 0.75 * x_BDHWC + 0.25 * after], axis + 1)
        x_BDHWC = pair.reshape(*x_BDHWC.shape[:axis], 2 * size, *x_BDHWC.shape[axis + 1 :])
    return x_BDHWC
