"""Sums of losses for few classes, a plane a class: the terms' own sums, in a sixth of a processor's time.

Logits have the classes last, so that XLA's loops over them are as long as there are classes: two or three.
Here each class is a plane of its own, whose loops are as long as a row. What is written for each class, XLA
compiles for each, with all that it needs: more than a few classes take long to compile and are no faster.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

# Beside the form with the classes last, value and gradient take 0.15 of the time for 2 classes, 0.17 for 3,
# and 0.98 for 8 (AVX2, one core; docs/explanation/speed.md).
FEW = 4

_SPACE = (1, 2, 3)


def _split(logits_BDHWC: Array) -> list[Array]:
    """(B, D, H, W) float32 of each class."""
    return [logits_BDHWC[..., c].astype(jnp.float32) for c in range(logits_BDHWC.shape[-1])]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def summed_cross_entropy(
    class_weights: tuple[float, ...], ignore_label: int, logits_BDHWC: Array, labels_BDHW: Array
) -> Array:
    """See `CrossEntropy.sums`."""
    logits = _split(logits_BDHWC)
    exponentials, largest = _exponentials(logits)
    log_sum = jnp.log(_sum(exponentials)) + largest
    weights = _voxel_weights(class_weights, ignore_label, labels_BDHW)
    # Not the product alone: 0 times the infinity of a class that is certainly not the voxel's would be NaN.
    by_class = [jnp.where(w == 0, 0.0, w * (log_sum - one)) for w, one in zip(weights, logits, strict=True)]
    return jnp.sum(_sum(by_class))


def _cross_entropy_forward(
    class_weights: tuple[float, ...], ignore_label: int, logits_BDHWC: Array, labels_BDHW: Array
) -> tuple[Array, tuple[Array, Array]]:
    total = summed_cross_entropy(class_weights, ignore_label, logits_BDHWC, labels_BDHW)
    return total, (logits_BDHWC, labels_BDHW)


def _cross_entropy_backward(
    class_weights: tuple[float, ...], ignore_label: int, residuals: tuple[Array, Array], cotangent: Array
) -> tuple[Array, np.ndarray]:
    logits_BDHWC, labels_BDHW = residuals
    # d/dz_c of -w_y log softmax(z)_y is w_y (softmax(z)_c - [c = y]).
    weights = _voxel_weights(class_weights, ignore_label, labels_BDHW)
    weight = _sum(weights)
    probabilities = _softmax(_split(logits_BDHWC))
    by_class = [cotangent * (weight * p - w) for p, w in zip(probabilities, weights, strict=True)]
    return _gradient(by_class, logits_BDHWC, labels_BDHW)


summed_cross_entropy.defvjp(_cross_entropy_forward, _cross_entropy_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def soft_counts(logits_BDHWC: Array, labels_BDHW: Array, ignore_label: int) -> tuple[Array, Array, Array]:
    """(B, C - 1) each, as of the foreground: true positives, all that is predicted, all that is labelled."""
    foreground = list(enumerate(_softmax(_split(logits_BDHWC))))[1:]
    counted = labels_BDHW != ignore_label
    return (
        _stacked([jnp.sum(jnp.where(labels_BDHW == c, p, 0), _SPACE) for c, p in foreground]),
        _stacked([jnp.sum(jnp.where(counted, p, 0), _SPACE) for _, p in foreground]),
        _stacked([jnp.sum((labels_BDHW == c) & counted, _SPACE, jnp.float32) for c, _ in foreground]),
    )


def _counts_forward(
    logits_BDHWC: Array, labels_BDHW: Array, ignore_label: int
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array]]:
    return soft_counts(logits_BDHWC, labels_BDHW, ignore_label), (logits_BDHWC, labels_BDHW)


def _counts_backward(
    ignore_label: int, residuals: tuple[Array, Array], cotangents: tuple[Array, Array, Array]
) -> tuple[Array, np.ndarray]:
    logits_BDHWC, labels_BDHW = residuals
    by_true_BC, by_predicted_BC, _ = cotangents
    probabilities = _softmax(_split(logits_BDHWC))
    counted = labels_BDHW != ignore_label
    by_probability = [jnp.zeros_like(probabilities[0])]
    for c in range(1, len(probabilities)):
        by_true, by_predicted = (by[:, c - 1, None, None, None] for by in (by_true_BC, by_predicted_BC))
        by_probability.append(jnp.where(labels_BDHW == c, by_true, 0) + jnp.where(counted, by_predicted, 0))
    # Through the softmax: p_c (g_c - sum over k of g_k p_k).
    mean = _sum([g * p for g, p in zip(by_probability, probabilities, strict=True)])
    by_class = [p * (g - mean) for g, p in zip(by_probability, probabilities, strict=True)]
    return _gradient(by_class, logits_BDHWC, labels_BDHW)


soft_counts.defvjp(_counts_forward, _counts_backward)


def _sum(of_classes: Sequence[Array]) -> Array:
    return functools.reduce(jnp.add, of_classes)


def _exponentials(logits: Sequence[Array]) -> tuple[list[Array], Array]:
    """Of the logits less the largest, and the largest."""
    largest = functools.reduce(jnp.maximum, logits)
    return [jnp.exp(one - largest) for one in logits], largest


def _softmax(logits: Sequence[Array]) -> list[Array]:
    exponentials, _ = _exponentials(logits)
    total = _sum(exponentials)
    return [one / total for one in exponentials]


def _voxel_weights(class_weights: Sequence[float], ignore_label: int, labels_BDHW: Array) -> list[Array]:
    counted = labels_BDHW != ignore_label
    return [
        jnp.where((labels_BDHW == c) & counted, jnp.float32(weight), 0.0)
        for c, weight in enumerate(class_weights)
    ]


def _stacked(of_classes: Sequence[Array]) -> Array:
    return jnp.stack(of_classes, axis=-1)


def _gradient(by_class: Sequence[Array], logits_BDHWC: Array, labels_BDHW: Array) -> tuple[Array, np.ndarray]:
    return _stacked(by_class).astype(logits_BDHWC.dtype), np.zeros(labels_BDHW.shape, jax.dtypes.float0)
