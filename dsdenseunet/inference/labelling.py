"""Class probabilities as labels, and as 16-bit numbers to be stored."""

from __future__ import annotations

import jax
import jax.numpy as jnp

# Stands in for a label on its way from the device: the network's output is NaN or infinite there.
NO_NUMBER = 255
# What a probability of 1 is stored as.
ONE = 2**16 - 1


@jax.jit
def arg_max(probabilities: jax.Array) -> jax.Array:
    """The label of each voxel, uint8; `NO_NUMBER` where a probability (..., C) is NaN or infinite."""
    labels = jnp.argmax(probabilities, axis=-1).astype(jnp.uint8)
    return jnp.where(jnp.isfinite(probabilities).all(axis=-1), labels, jnp.uint8(NO_NUMBER))


@jax.jit
def stored(probabilities: jax.Array, labels: jax.Array) -> jax.Array:
    """Probabilities (..., C) in steps of 1 / `ONE`, uint16, whose largest is the label's alone.

    Rounding can make two classes equal; the label's is then one step higher, so that the arg max of what is
    stored is the label, whichever of two equal numbers a library prefers.
    """
    steps = jnp.round(jnp.clip(probabilities, 0.0, 1.0) * ONE).astype(jnp.uint16)
    is_label = jnp.arange(steps.shape[-1]) == labels[..., None]
    tied = (steps == steps.max(axis=-1, keepdims=True)).sum(axis=-1, keepdims=True) > 1
    return steps + (is_label & tied).astype(jnp.uint16)
