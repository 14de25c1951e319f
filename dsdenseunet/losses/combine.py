"""The loss that a config asks for: terms by weight, on the network's output and on its coarser ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from dsdenseunet.core.fields import Check, number
from dsdenseunet.losses.cross_entropy import CrossEntropy
from dsdenseunet.losses.focal import Focal
from dsdenseunet.losses.term import Term
from dsdenseunet.losses.tversky import Dice, Tversky

TERMS: dict[str, type[Term]] = {
    "cross_entropy": CrossEntropy,
    "dice": Dice,
    "focal": Focal,
    "tversky": Tversky,
}


@dataclasses.dataclass(frozen=True)
class Loss:
    """A weighted sum of terms.

    Attributes:
        terms: weight and term.
        ignore_label: of voxels that count in none of them.
        deep_supervision: weights of the network's coarser outputs, finest first, beside the 1 of its logits;
            together they are scaled to sum to 1.
    """

    terms: tuple[tuple[float, Term], ...]
    ignore_label: int
    deep_supervision: tuple[float, ...] = ()

    @property
    def is_linear(self) -> bool:
        """Whether every term is linear, see `Term`."""
        return all(term.is_linear for _, term in self.terms)

    def __call__(self, outputs: Sequence[Array], labels_BDHW: Array) -> Array:
        """The loss of one whole batch: `outputs` as `sums` takes them."""
        return self.value(self.counts(labels_BDHW, outputs), self.sums(outputs, labels_BDHW))

    def counts(self, labels_BDHW: Array, outputs: Sequence[Array | jax.ShapeDtypeStruct]) -> Any:
        """What is known from the labels alone, for each output and term; adds up over parts of a batch.

        Args:
            labels_BDHW: int32.
            outputs: logits, finest first, or their shapes; their number of samples plays no part.
        """
        return [
            [term.counts(own, logits.shape[-1], self.ignore_label) for _, term in self.terms]
            for logits in outputs
            for own in (coarser(labels_BDHW, logits.shape[1:4]),)
        ]

    def sums(self, outputs: Sequence[Array], labels_BDHW: Array) -> Any:
        """What depends on the network, for each output and term; adds up over parts of a batch."""
        return [
            [term.sums(logits, own, self.ignore_label) for _, term in self.terms]
            for logits in outputs
            for own in (coarser(labels_BDHW, logits.shape[1:4]),)
        ]

    def value(self, counts: Any, sums: Any) -> Array:
        """The loss, a float32 scalar, of the counts and sums over everything."""
        shares = (1.0, *self.deep_supervision)
        total = jnp.zeros((), jnp.float32)
        for share, known, found in zip(shares, counts, sums, strict=True):
            for (weight, term), *parts in zip(self.terms, known, found, strict=True):
                total += share / sum(shares) * weight * term.value(*parts)
        return total


def build(config: Mapping[str, Any], ignore_label: int) -> Loss:
    """The loss of `config.loss`; a term that it does not name, or whose weight is 0, is not computed."""
    chosen = tuple(
        (config[name]["weight"], term(**{field: _hashable(config[name][field]) for field in term.checks}))
        for name, term in TERMS.items()
        if name in config and config[name]["weight"]
    )
    return Loss(chosen, ignore_label, tuple(config["deep_supervision"]))


def field_checks(given: Iterable[str]) -> dict[str, Check]:
    """The check of every field that the terms which are named must have, and no others.

    Args:
        given: dotted names of a config's fields, such as `loss.dice.over`.
    """
    sections = {name.split(".")[1] for name in given if name.startswith("loss.")}
    return {
        f"loss.{name}.{field}": check
        for name, term in TERMS.items()
        if name in sections
        for field, check in {"weight": number(low=0), **term.checks}.items()
    }


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


def coarser(labels_BDHW: Array, size: Sequence[int]) -> Array:
    """Labels on a coarser grid of the same extent: those of the voxels nearest to its voxels' centres."""
    for axis, (fine, coarse) in enumerate(zip(labels_BDHW.shape[1:], size, strict=True), start=1):
        if fine != coarse:
            centres = [(2 * index + 1) * fine // (2 * coarse) for index in range(coarse)]
            labels_BDHW = jnp.take(labels_BDHW, jnp.asarray(centres), axis=axis)
    return labels_BDHW
