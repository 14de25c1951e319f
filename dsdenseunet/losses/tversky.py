"""Soft overlap of prediction and label: the Tversky loss, of which soft Dice is the symmetric case."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from dsdenseunet.core.fields import Check, choice, number
from dsdenseunet.losses import planes

OVER = ("batch", "sample")


@dataclasses.dataclass(frozen=True)
class Tversky:
    """1 - mean over the foreground classes of (TP + s) / (TP + alpha FP + beta FN + s), with soft counts.

    Salehi et al. 2017 (arXiv 1706.05721), equation 3; with alpha = beta = 0.5 it is soft Dice (Milletari et
    al. 2016, without squares). TP of a class is the sum over voxels of its probability where it is the label,
    FP where it is not, and FN the sum of 1 - probability where it is. Without smoothing a class that neither
    side has would be 0 / 0; with it the class counts as 1.

    Attributes:
        alpha: weight of false positives.
        beta: weight of false negatives.
        over: `batch`: counts are summed over all samples; `sample`: the mean of the samples' own values.
        smooth: s, voxels.
    """

    alpha: float = 0.5
    beta: float = 0.5
    over: str = "batch"
    smooth: float = 0.5

    checks: ClassVar[Mapping[str, Check]] = {
        "alpha": number(low=0),
        "beta": number(low=0),
        "over": choice(*OVER),
    }

    @property
    def is_linear(self) -> bool:
        """True for a mean over samples; the overlap of a whole batch is not linear."""
        return self.over == "sample"

    def counts(self, labels_BDHW: Array, num_classes: int, ignore_label: int) -> Array:
        """Number of samples; or (C - 1,) labelled voxels a class."""
        if self.over == "sample":
            return jnp.asarray(labels_BDHW.shape[0], jnp.float32)
        del ignore_label
        classes = jnp.arange(1, num_classes, dtype=labels_BDHW.dtype)
        return jnp.sum(labels_BDHW[..., None] == classes, axis=(0, 1, 2, 3), dtype=jnp.float32)

    def sums(self, logits_BDHWC: Array, labels_BDHW: Array, ignore_label: int) -> Array:
        """The samples' summed values; or (2, C - 1): true positives and all that is predicted."""
        soft_counts = planes.soft_counts if logits_BDHWC.shape[-1] <= planes.FEW else _soft_counts
        true_BC, predicted_BC, labelled_BC = soft_counts(logits_BDHWC, labels_BDHW, ignore_label)
        if self.over == "sample":
            return jnp.sum(self._loss(true_BC, predicted_BC, labelled_BC))
        return jnp.stack([true_BC.sum(0), predicted_BC.sum(0)])

    def value(self, counts: Array, sums: Array) -> Array:
        """See the class."""
        if self.over == "sample":
            return sums / counts
        true_C, predicted_C = sums
        return self._loss(true_C, predicted_C, counts)

    def _loss(self, true: Array, predicted: Array, labelled: Array) -> Array:
        """The loss (...) of counts (..., C - 1)."""
        wrong = self.alpha * (predicted - true) + self.beta * (labelled - true)
        return 1 - jnp.mean((true + self.smooth) / (true + wrong + self.smooth), axis=-1)


@dataclasses.dataclass(frozen=True)
class Dice(Tversky):
    """1 - soft Dice: the symmetric Tversky loss."""

    checks: ClassVar[Mapping[str, Check]] = {"over": choice(*OVER)}


# The backward pass recomputes the probabilities, so that only the logits are kept for it.
@functools.partial(jax.checkpoint, static_argnums=(2,))
def _soft_counts(logits_BDHWC: Array, labels_BDHW: Array, ignore_label: int) -> tuple[Array, Array, Array]:
    """(B, C - 1) each: true positives, all that is predicted, all that is labelled."""
    probabilities = jax.nn.softmax(logits_BDHWC.astype(jnp.float32), axis=-1)[..., 1:]
    classes = jnp.arange(1, logits_BDHWC.shape[-1], dtype=labels_BDHW.dtype)
    labelled = labels_BDHW[..., None] == classes
    counted = (labels_BDHW != ignore_label)[..., None]
    over = (1, 2, 3)
    return (
        jnp.sum(jnp.where(labelled, probabilities, 0), over),
        jnp.sum(jnp.where(counted, probabilities, 0), over),
        jnp.sum(labelled & counted, over, dtype=jnp.float32),
    )
