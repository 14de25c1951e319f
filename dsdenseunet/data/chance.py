"""What a random change of a patch is drawn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Chance:
    """A size that is drawn uniformly from a range for some patches, and is neutral for the others.

    Attributes:
        probability: share of patches.
        low: lower end of the range.
        high: upper end.
        neutral: the size that changes nothing.
    """

    probability: float
    low: float
    high: float
    neutral: float

    @classmethod
    def of(cls, fields: Mapping[str, Any], neutral: float) -> Chance:
        """From a section of `config.augment`: `probability` and `range`."""
        low, high = fields["range"]
        return cls(fields["probability"], low, high, neutral)

    def __bool__(self) -> bool:
        """Whether it ever happens."""
        return self.probability > 0

    def draw(self, rng: np.random.Generator) -> float:
        """Draws twice, whatever happens."""
        happens, size = rng.random() < self.probability, rng.uniform(self.low, self.high)
        return float(size) if happens else self.neutral
