"""Hounsfield units to the network's input range, on the device: data/intensity.py in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def normalise(image: jax.Array, hu_window: jax.Array | tuple[float, float]) -> jax.Array:
    """Maps the window linearly to [-1, 1] and clips what is outside it; float32, same shape."""
    lower, upper = hu_window
    return jnp.clip((image.astype(jnp.float32) - (upper + lower) / 2) * (2 / (upper - lower)), -1, 1)
