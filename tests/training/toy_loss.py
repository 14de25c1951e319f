"""A term of the loss as a newcomer would add it."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from dsdenseunet.core.fields import number
from dsdenseunet.losses.cross_entropy import counted_voxels


@dataclasses.dataclass(frozen=True)
class Brier:
    """Mean over the counted voxels of sum |p - [c = label]|^power over the classes c."""

    power: float

    checks: ClassVar = {"power": number(low=1)}

    @property
    def is_linear(self) -> bool:
        return True

    def counts(self, labels_BDHW: Array, num_classes: int, ignore_label: int) -> Array:
        return counted_voxels(labels_BDHW, ignore_label)

    def sums(self, logits_BDHWC: Array, labels_BDHW: Array, ignore_label: int) -> Array:
        wrong = jax.nn.softmax(logits_BDHWC) - jax.nn.one_hot(labels_BDHW, logits_BDHWC.shape[-1])
        each = jnp.sum(jnp.abs(wrong) ** self.power, axis=-1)
        return jnp.sum(jnp.where(labels_BDHW != ignore_label, each, 0))

    def value(self, counts: Array, sums: Array) -> Array:
        return sums / jnp.maximum(counts, 1)
