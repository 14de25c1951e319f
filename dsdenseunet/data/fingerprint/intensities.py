"""What the values of a channel are like, in one case and over all cases."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Of a larger set of voxels, so many that lie evenly spaced in memory speak for all.
MOST_VOXELS = 1_000_000
# The shares below `low`, `median` and `high`.
_ENDS = (0.005, 0.5, 0.995)
# A case is pooled by so many of its quantiles, at the middles of equal shares.
_QUANTILES = 1000


@dataclasses.dataclass(frozen=True)
class Intensities:
    """Values of some voxels of a channel.

    Attributes:
        voxels: how many there are.
        mean: of all of them.
        deviation: their standard deviation.
        minimum: the least of them.
        low: their 0.5 percentile.
        median: their 50 percentile.
        high: their 99.5 percentile.
        maximum: the largest.
    """

    voxels: int
    mean: float
    deviation: float
    minimum: float
    low: float
    median: float
    high: float
    maximum: float

    def as_json(self) -> dict[str, Any]:
        """Plain values, to six digits."""
        return {name: _rounded(value) for name, value in dataclasses.asdict(self).items()}


def intensities_of(values: NDArray[np.number]) -> tuple[Intensities, NDArray[np.float32]] | None:
    """A case's values, and the quantiles by which it is pooled; None for no voxel.

    Args:
        values: of one channel, one axis.
    """
    if not values.size:
        return None
    # An odd step does not fall on the same place of every row, whose lengths are mostly even.
    step = -(-values.size // MOST_VOXELS) | 1
    ordered = np.sort(values[::step])
    low, median, high = _quantiles(ordered, np.array(_ENDS))
    found = Intensities(
        values.size,
        float(ordered.mean(dtype=np.float64)),
        float(ordered.std(dtype=np.float64)),
        float(ordered[0]),
        float(low),
        float(median),
        float(high),
        float(ordered[-1]),
    )
    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    return found, _quantiles(ordered, levels).astype(np.float32)


def pooled(cases: Sequence[tuple[Intensities, NDArray[np.float32]]]) -> Intensities | None:
    """The values of several cases, each of which weighs alike whatever its size; None for no case."""
    if not cases:
        return None
    each = [found for found, _ in cases]
    means = np.array([one.mean for one in each])
    squares = np.array([one.deviation**2 for one in each])
    ordered = np.sort(np.concatenate([quantiles for _, quantiles in cases]))
    low, median, high = _quantiles(ordered, np.array(_ENDS))
    return Intensities(
        sum(one.voxels for one in each),
        float(means.mean()),
        float(np.sqrt(squares.mean() + means.var())),
        min(one.minimum for one in each),
        float(low),
        float(median),
        float(high),
        max(one.maximum for one in each),
    )


def _quantiles(ordered: NDArray[np.number], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of values in order, interpolated linearly, as by `np.quantile`, which takes longer for many."""
    places = levels * (ordered.size - 1)
    below = np.floor(places).astype(np.int64)
    above = np.minimum(below + 1, ordered.size - 1)
    first = ordered[below].astype(np.float64)
    return first + (ordered[above].astype(np.float64) - first) * (places - below)


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.6g}")
