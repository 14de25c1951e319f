"""Class probabilities as labels, and as 16-bit numbers to be stored."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

# Stands in for a label on its way from the device: the network's output is NaN or infinite there.
NO_NUMBER = 255
# What a probability of 1 is stored as.
ONE = 2**16 - 1


@functools.partial(jax.jit, static_argnames="thresholds")
def labelled(probabilities: jax.Array, thresholds: tuple[float, ...] = ()) -> jax.Array:
    """The label of each voxel, uint8; `NO_NUMBER` where a probability (..., C) is NaN or infinite.

    It is the class with the largest probability. With `thresholds`, one for each class but background, it is
    the last class whose probability reaches its own, and background where none does.
    """
    if thresholds:
        reached = probabilities[..., 1:] >= jnp.asarray(thresholds, probabilities.dtype)
        labels = (reached * jnp.arange(1, probabilities.shape[-1], dtype=jnp.uint8)).max(axis=-1)
    else:
        labels = jnp.argmax(probabilities, axis=-1).astype(jnp.uint8)
    return jnp.where(jnp.isfinite(probabilities).all(axis=-1), labels, jnp.uint8(NO_NUMBER))


@jax.jit
def cooled(probabilities: jax.Array, temperature: float) -> jax.Array:
    """Probabilities (..., C) ** (1 / temperature), which sum to 1 again; the largest one stays it.

    Those below half of what is stored as 1 count as that, as they do when the temperature is found
    (`evaluation.calibration`).
    """
    return jax.nn.softmax(jnp.log(jnp.maximum(probabilities, 0.5 / ONE)) / temperature)


@functools.partial(jax.jit, static_argnames="thresholds")
def stored(probabilities: jax.Array, labels: jax.Array, thresholds: tuple[float, ...] = ()) -> jax.Array:
    """Probabilities (..., C) in steps of 1 / `ONE`, uint16, of which `labelled` makes the same labels.

    Rounding can make two classes equal; the label's is then one step higher, so that it is the arg max of
    what is stored, whichever of two equal numbers a library prefers. With thresholds, what rounding would
    take to the other side of one stays a step or two on its own side.
    """
    steps = jnp.round(jnp.clip(probabilities, 0.0, 1.0) * ONE).astype(jnp.uint16)
    if thresholds:
        least, most = _steps_beside(thresholds)
        reached = probabilities[..., 1:] >= jnp.asarray(thresholds, probabilities.dtype)
        on_its_side = jnp.where(
            reached, jnp.maximum(steps[..., 1:], least), jnp.minimum(steps[..., 1:], most)
        )
        return steps.at[..., 1:].set(on_its_side)
    is_label = jnp.arange(steps.shape[-1]) == labels[..., None]
    tied = (steps == steps.max(axis=-1, keepdims=True)).sum(axis=-1, keepdims=True) > 1
    return steps + (is_label & tied).astype(jnp.uint16)


def _steps_beside(thresholds: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The least steps that reach each threshold and the most that do not, however 1 / `ONE` is rounded."""
    exact = np.asarray(thresholds) * ONE
    least, most = np.ceil(exact * (1 + 1e-6)), np.ceil(exact * (1 - 1e-6)) - 1
    return np.minimum(least, ONE).astype(np.uint16), np.maximum(most, 0).astype(np.uint16)
