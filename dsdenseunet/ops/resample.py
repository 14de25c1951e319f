"""Zoom, mirror and padding of patches as gathers by index, on the device: data/augment.py in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dsdenseunet.ops.intensity import normalise

Size = tuple[int, int, int]


def sample_image(
    box_DHWC: jax.Array,
    below: jax.Array,
    weight: jax.Array,
    nearest: jax.Array,
    patch_size: Size,
    scaling: jax.Array,
) -> jax.Array:
    """The patch that lies in a box, normalised and linearly interpolated; `fill` outside the volume.

    Args:
        box_DHWC: the values as they are stored.
        below: (D + H + W of the patch,) of each sample along D, then H, then W, the voxel at or below it.
        weight: the same shape, of the voxel after that one.
        nearest: the same shape; below 0 where the sample lies outside the volume.
        patch_size: (D, H, W).
        scaling: (channels, 5), see `tasks.channel`.

    Returns:
        float32, of `patch_size` and channels.
    """
    out = normalise(box_DHWC, scaling)
    for axis, (indices, weights) in enumerate(zip(_axes(below, patch_size), _axes(weight, patch_size))):
        lower = _take(out, indices, axis)
        upper = _take(out, indices + 1, axis)
        others = tuple(other for other in range(out.ndim) if other != axis)
        out = lower + (upper - lower) * jnp.expand_dims(weights, others)
    inside = _inside(nearest, patch_size)
    return jnp.where(inside.reshape(inside.shape + (1,) * (out.ndim - 3)), out, scaling[..., 4])


def sample_labels(box_DHW: jax.Array, nearest: jax.Array, patch_size: Size) -> jax.Array:
    """Labels at the nearest voxels, int32; background outside the volume. Arguments as `sample_image`."""
    out_DHW = box_DHW
    for axis, indices in enumerate(_axes(nearest, patch_size)):
        out_DHW = _take(out_DHW, indices, axis)
    return jnp.where(_inside(nearest, patch_size), out_DHW, 0).astype(jnp.int32)


def _take(array: jax.Array, indices: jax.Array, axis: int) -> jax.Array:
    # The voxel above the last one has weight 0, the nearest of what is outside is not looked at.
    return jnp.take(array, indices, axis, mode="clip")


def _inside(nearest: jax.Array, patch_size: Size) -> jax.Array:
    d, h, w = (indices >= 0 for indices in _axes(nearest, patch_size))
    return d[:, None, None] & h[:, None] & w


def _axes(values: jax.Array, patch_size: Size) -> list[jax.Array]:
    depth, height, _ = patch_size
    return jnp.split(values, (depth, depth + height))
