"""What happens along axes of a volume: zeros around it, moves, several arrays as the phases of one."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax


def pad_for(x_BDHWC: Array, size: Sequence[int]) -> Array:
    """Zeros around a volume for a kernel of `size` (kd, kh, kw, ...): k // 2 on both sides."""
    return jnp.pad(x_BDHWC, [(0, 0), *((k // 2, k // 2) for k in size[:3]), (0, 0)])


def shift(array: Array, axis: int, by: int, filling: float = 0.0) -> Array:
    """Moves `by` places along an axis, `filling` coming in; same shape."""
    config = [(by, -by, 0) if a == axis else (0, 0, 0) for a in range(array.ndim)]
    return lax.pad(array, jnp.array(filling, array.dtype), config)


def interleave(phases: Sequence[Array], axis: int) -> Array:
    """Arrays of one shape, taken in turn along an axis, which becomes as many times as long."""
    shape = list(phases[0].shape)
    shape[axis] *= len(phases)
    return jnp.stack(phases, axis + 1).reshape(shape)
