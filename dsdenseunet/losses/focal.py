"""Focal loss: cross-entropy that concentrates on voxels that are still wrong."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from dsdenseunet.core.fields import Check, number, sequence
from dsdenseunet.losses.cross_entropy import counted_voxels


@dataclasses.dataclass(frozen=True)
class Focal:
    """Mean over the counted voxels of -w[label] (1 - p)^gamma log p, p the label's probability.

    Lin et al. 2017 (arXiv 1708.02002), equation 5; the mean divides by the number of voxels.

    Attributes:
        class_weights: w, one per class.
        gamma: 0 gives cross-entropy.
    """

    class_weights: tuple[float, ...]
    gamma: float = 2.0

    checks: ClassVar[Mapping[str, Check]] = {"class_weights": sequence(number(low=0)), "gamma": number(low=0)}

    @property
    def is_linear(self) -> bool:
        """True: it is a mean over voxels."""
        return True

    def counts(self, labels_BDHW: Array, num_classes: int, ignore_label: int) -> Array:
        """Number of counted voxels."""
        del num_classes
        return counted_voxels(labels_BDHW, ignore_label).astype(jnp.float32)

    def sums(self, logits_BDHWC: Array, labels_BDHW: Array, ignore_label: int) -> Array:
        """The sum over voxels."""
        return _summed(self.class_weights, self.gamma, ignore_label, logits_BDHWC, labels_BDHW)

    def value(self, counts: Array, sums: Array) -> Array:
        """See the class."""
        return sums / jnp.maximum(counts, 1)


@functools.partial(jax.checkpoint, static_argnums=(0, 1, 2))
def _summed(
    class_weights: tuple[float, ...], gamma: float, ignore_label: int, logits_BDHWC: Array, labels_BDHW: Array
) -> Array:
    log_probabilities = jax.nn.log_softmax(logits_BDHWC.astype(jnp.float32), axis=-1)
    is_label = labels_BDHW[..., None] == jnp.arange(len(class_weights), dtype=labels_BDHW.dtype)
    own = jnp.sum(jnp.where(is_label, log_probabilities, 0), axis=-1)
    weight = jnp.sum(jnp.where(is_label, jnp.asarray(class_weights, jnp.float32), 0), axis=-1)
    # 1 - p from its logarithm: exact where p is nearly 1, and never 0 to a power whose gradient is infinite.
    doubt = jnp.maximum(-jnp.expm1(own), jnp.finfo(jnp.float32).tiny)
    value = -weight * doubt**gamma * own
    return jnp.sum(jnp.where(labels_BDHW != ignore_label, value, 0))
