"""The training loss: weighted cross-entropy from logits (equation 2 of the paper)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dsdenseunet.core.fields import Check, number, sequence
from dsdenseunet.losses import planes


@dataclasses.dataclass(frozen=True)
class CrossEntropy:
    """Mean over the counted voxels of -w[label] log softmax(logits)[label] (equation 2 of the paper).

    The mean divides by the number N of counted voxels, as equation 2 does, not by the sum of their weights; a
    batch without any has loss 0. The softmax is taken in float32 whatever the logits' type. Neither a one-hot
    array nor the softmax is kept for the backward pass.

    Attributes:
        class_weights: w, one per class.
    """

    class_weights: tuple[float, ...]

    checks: ClassVar[Mapping[str, Check]] = {"class_weights": sequence(number(low=0))}

    @property
    def is_linear(self) -> bool:
        """True: it is a mean over voxels."""
        return True

    def counts(self, labels_BDHW: jax.Array, num_classes: int, ignore_label: int) -> jax.Array:
        """Number of counted voxels."""
        del num_classes
        return counted_voxels(labels_BDHW, ignore_label)

    def sums(self, logits_BDHWC: jax.Array, labels_BDHW: jax.Array, ignore_label: int) -> jax.Array:
        """The sum over voxels.

        Raises:
            ValueError: the number of weights is not the number of classes.
        """
        if logits_BDHWC.shape[-1] != len(self.class_weights):
            found = f"{len(self.class_weights)} class weights for {logits_BDHWC.shape[-1]} classes"
            raise ValueError(found)
        few = logits_BDHWC.shape[-1] <= planes.FEW
        summed = planes.summed_cross_entropy if few else _summed_cross_entropy
        return summed(self.class_weights, ignore_label, logits_BDHWC, labels_BDHW)

    def value(self, counts: jax.Array, sums: jax.Array) -> jax.Array:
        """See the class."""
        return sums * (1.0 / jnp.maximum(counts, 1).astype(jnp.float32))


def counted_voxels(labels_BDHW: jax.Array, ignore_label: int) -> jax.Array:
    """Number of voxels whose label is not `ignore_label`, an int32 scalar."""
    return jnp.sum(labels_BDHW != ignore_label, dtype=jnp.int32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _summed_cross_entropy(
    class_weights: tuple[float, ...], ignore_label: int, logits_BDHWC: jax.Array, labels_BDHW: jax.Array
) -> jax.Array:
    log_probabilities_BDHWC = jax.nn.log_softmax(logits_BDHWC.astype(jnp.float32), axis=-1)
    weights_BDHWC = _voxel_weights(class_weights, ignore_label, labels_BDHW)
    # Not the product alone: 0 times the -inf of a class that is certainly not the voxel's would be NaN.
    return -jnp.sum(jnp.where(weights_BDHWC == 0, 0.0, weights_BDHWC * log_probabilities_BDHWC))


def _forward(
    class_weights: tuple[float, ...], ignore_label: int, logits_BDHWC: jax.Array, labels_BDHW: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    total = _summed_cross_entropy(class_weights, ignore_label, logits_BDHWC, labels_BDHW)
    return total, (logits_BDHWC, labels_BDHW)


def _backward(
    class_weights: tuple[float, ...],
    ignore_label: int,
    residuals: tuple[jax.Array, jax.Array],
    cotangent: jax.Array,
) -> tuple[jax.Array, np.ndarray]:
    logits_BDHWC, labels_BDHW = residuals
    # d/dz_c of -w_y log softmax(z)_y is w_y (softmax(z)_c - [c = y]).
    probabilities_BDHWC = jax.nn.softmax(logits_BDHWC.astype(jnp.float32), axis=-1)
    weights_BDHWC = _voxel_weights(class_weights, ignore_label, labels_BDHW)
    voxel_weight_BDHW1 = jnp.sum(weights_BDHWC, axis=-1, keepdims=True)
    gradient_BDHWC = cotangent * (voxel_weight_BDHW1 * probabilities_BDHWC - weights_BDHWC)
    no_gradient = np.zeros(labels_BDHW.shape, jax.dtypes.float0)
    return gradient_BDHWC.astype(logits_BDHWC.dtype), no_gradient


_summed_cross_entropy.defvjp(_forward, _backward)


def _voxel_weights(class_weights: tuple[float, ...], ignore_label: int, labels_BDHW: jax.Array) -> jax.Array:
    """w[label] at the label's class, 0 elsewhere; XLA fuses it into its use, so it is never stored."""
    is_class_BDHWC = labels_BDHW[..., None] == jnp.arange(len(class_weights), dtype=labels_BDHW.dtype)
    counted_BDHW1 = (labels_BDHW != ignore_label)[..., None]
    return jnp.where(is_class_BDHWC & counted_BDHW1, jnp.asarray(class_weights, jnp.float32), 0.0)
