"""Channels of an image, and the linear map that brings the values of each to the network's range.

A channel's map is five float32 numbers, its *scaling*: `clip((value - centre) * factor, low, high)`, and what
lies outside the volume gets `fill`. `data.intensity` applies it on the host and `ops.intensity` on a device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Normalisations by name, and how many numbers each has.
NORMALISATIONS = {"window": 2, "zscore": 0, "zscore_foreground": 0, "percentiles": 2, "none": 0}
# Stands for no bound. It is finite, since scalings are part of batches, where infinity counts as a fault.
_MOST = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Channel:
    """One channel of the images of a task.

    Attributes:
        name: what it shows, such as "CT" or "T1".
        normalisation: "window" maps `numbers`, in Hounsfield units, to [-1, 1] and clips what is outside;
            "percentiles" does so with these percentiles of the case; "zscore" subtracts the case's mean and
            divides by its standard deviation; "zscore_foreground" takes both over the voxels that are
            not 0; "none" leaves values as they are.
        numbers: of "window" and "percentiles", the lower and the upper end.
    """

    name: str
    normalisation: str
    numbers: tuple[float, ...] = ()

    def __str__(self) -> str:
        numbers = " ".join(f"{number:g}" for number in self.numbers)
        return f"{self.name} {self.normalisation}{f' {numbers}' if numbers else ''}"

    @property
    def of_case(self) -> bool:
        """Whether the normalisation depends on the case's own values."""
        return self.normalisation not in ("window", "none")

    @property
    def is_hounsfield(self) -> bool:
        """Whether the values are Hounsfield units, which the reader holds them to."""
        return self.normalisation == "window"

    def prepares(self, other: Channel) -> bool:
        """Whether a case that was prepared with this channel can be normalised as the other one asks."""
        if self.of_case or other.of_case:
            return self == other
        return self.is_hounsfield == other.is_hounsfield

    def statistics(self, values: NDArray[np.number]) -> tuple[float, ...]:
        """What `scaling` needs to know of a case: mean and deviation, or two percentiles, or nothing.

        Args:
            values: of all voxels of the channel, any shape.
        """
        if self.normalisation == "percentiles":
            low, high = np.percentile(values, self.numbers)
            return float(low), float(high)
        if self.normalisation == "zscore_foreground":
            values = values[values != 0]
        if not self.of_case:
            return ()
        if not values.size:
            return 0.0, 1.0
        return float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))

    def scaling(self, statistics: Sequence[float] = ()) -> tuple[float, float, float, float, float]:
        """(centre, factor, low, high, fill) of a case; one of a single value becomes 0 everywhere."""
        if self.normalisation in ("window", "percentiles"):
            low, high = self.numbers if self.normalisation == "window" else statistics
            return (high + low) / 2, 2 / (high - low) if high > low else 0.0, -1.0, 1.0, -1.0
        if self.normalisation == "none":
            return 0.0, 1.0, -_MOST, _MOST, 0.0
        mean, deviation = statistics
        factor = 1 / deviation if deviation else 0.0
        outside = -mean * factor if self.normalisation == "zscore_foreground" else 0.0
        return mean, factor, -_MOST, _MOST, outside


def are_hounsfield(channels: Sequence[Channel]) -> bool:
    """Whether images of these channels are CT, all of whose values are Hounsfield units."""
    return all(channel.is_hounsfield for channel in channels)


def statistics_of(channels: Sequence[Channel], image: NDArray[np.number]) -> tuple[tuple[float, ...], ...]:
    """The statistics of a case, one tuple per channel.

    Args:
        channels: of the task.
        image: (D, H, W), or (D, H, W, channel).
    """
    parts = [image] if image.ndim == 3 else np.moveaxis(image, -1, 0)
    return tuple(channel.statistics(part) for channel, part in zip(channels, parts, strict=True))


def scaling_of(channels: Sequence[Channel], statistics: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    """(channels, 5) float32: the scaling of each channel of a case."""
    rows = [channel.scaling(known) for channel, known in zip(channels, statistics, strict=True)]
    return np.array(rows, np.float32)
