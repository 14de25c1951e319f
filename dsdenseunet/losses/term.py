"""What a loss is made of: sums over voxels, and a value made of the sums.

A batch may be spread over devices and cut into micro-batches, and some of its voxels do not count. A mean of
the parts' losses would then not be the loss of the whole. So a term gives sums, which simply add up, and the
value is taken once, of the sums over everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from jax import Array

from dsdenseunet.core.fields import Check


class Term(Protocol):
    """One term of a loss: a frozen dataclass, whose fields with a check are those of `config.loss.NAME`.

    Attributes:
        checks: of fields by name; beside them each term has its `weight` in the sum.
    """

    checks: ClassVar[Mapping[str, Check]]

    @property
    def is_linear(self) -> bool:
        """Whether `value` is linear in `sums`, so that a part's gradient needs no other part's sums."""

    def counts(self, labels_BDHW: Array, num_classes: int, ignore_label: int) -> Any:
        """What is known from the labels alone; adds up over voxels and samples.

        Args:
            labels_BDHW: int32, 0 to num_classes - 1 or `ignore_label`.
            num_classes: of the network.
            ignore_label: of voxels that do not count.
        """

    def sums(self, logits_BDHWC: Array, labels_BDHW: Array, ignore_label: int) -> Any:
        """What depends on the network; adds up over voxels and samples, float32.

        Args:
            logits_BDHWC: scores before the softmax, any float type.
            labels_BDHW: as `counts`.
            ignore_label: as `counts`.
        """

    def value(self, counts: Any, sums: Any) -> Array:
        """The term's value, a float32 scalar, of the counts and sums over everything."""
