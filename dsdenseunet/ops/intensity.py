"""Intensities to the network's input range, on the device: data/intensity.py in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def normalise(image: jax.Array, scaling: jax.Array) -> jax.Array:
    """The values scaled and clipped, channel by channel.

    Args:
        image: of any type, channels last.
        scaling: (channels, 5), see `tasks.channel`.

    Returns:
        float32, same shape.
    """
    out = (image.astype(jnp.float32) - scaling[..., 0]) * scaling[..., 1]
    return jnp.clip(out, scaling[..., 2], scaling[..., 3])
