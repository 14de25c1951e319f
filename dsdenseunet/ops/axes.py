"""What happens along axes of a volume: zeros around it, moves, several arrays as the phases of one."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax


def pad_for(x_BDHWC: Array, size: Sequence[int]) -> Array:
    """Zeros around a volume for a kernel of `size` (kd, kh, kw, ...): k // 2 on both sides."""
    return jnp.pad(x_BDHWC, [(0, 0), *((k // 2, k // 2) for k in size[:3]), (0, 0)])


def met_by(padded_BDHWC: Array, tap: Sequence[int], stride: Sequence[int], out_DHW: Sequence[int]) -> Array:
    """The voxels of a padded volume that one position (D, H, W) of a kernel meets, one per output voxel."""
    batch, *_, channels = padded_BDHWC.shape
    stop = [t + s * (n - 1) + 1 for t, s, n in zip(tap, stride, out_DHW)]
    return lax.slice(padded_BDHWC, (0, *tap, 0), (batch, *stop, channels), (1, *stride, 1))


def shift(array: Array, axis: int, by: int, filling: float = 0.0) -> Array:
    """Shifts by `by` places along an axis; what comes in is `filling`; same shape."""
    config = [(by, -by, 0) if a == axis else (0, 0, 0) for a in range(array.ndim)]
    return lax.pad(array, jnp.array(filling, array.dtype), config)


def interleave(phases: Sequence[Array], axis: int) -> Array:
    """Arrays of one shape, taken in turn along an axis, which becomes as many times as long."""
    shape = list(phases[0].shape)
    shape[axis] *= len(phases)
    return jnp.stack(phases, axis + 1).reshape(shape)


def space_to_depth(x_BDHWC: Array) -> Array:
    """(B, D, H, W, C) -> (B, D/2, H/2, W/2, 8 C): the voxels of each 2^3 cube side by side, D slowest."""
    batch, depth, height, width, channels = x_BDHWC.shape
    cubes = x_BDHWC.reshape(batch, depth // 2, 2, height // 2, 2, width // 2, 2, channels)
    cubes = cubes.transpose(0, 1, 3, 5, 2, 4, 6, 7)
    return cubes.reshape(batch, depth // 2, height // 2, width // 2, 8 * channels)


def depth_to_space(x_BDHWC: Array) -> Array:
    """The inverse of `space_to_depth`: (B, D, H, W, 8 C) -> (B, 2 D, 2 H, 2 W, C)."""
    batch, depth, height, width, channels = x_BDHWC.shape
    cubes = x_BDHWC.reshape(batch, depth, height, width, 2, 2, 2, channels // 8)
    cubes = cubes.transpose(0, 1, 4, 2, 5, 3, 6, 7)
    return cubes.reshape(batch, 2 * depth, 2 * height, 2 * width, channels // 8)
