"""What the numbers that a file stores mean: labels, Hounsfield units in their range, other intensities.

Reader and doctor both judge by these rules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.core.words import counted
from dsdenseunet.data.scans.stored_volume import StoredVolume

# How far a value may lie from a whole number and still be it: labels are often kept as floating point, or
# scaled to 8 bits, and 32-bit numbers keep three decimals of a Hounsfield unit.
TOLERANCE = 1e-3
INT16 = np.iinfo(np.int16)
# Fractions within such a small range are not a CT: any CT holds air (-1000) or at least fat (-100) beside
# organs (50). An image that was scaled to [0, 1] or to unit variance would be rounded to a few values.
_LEAST_FRACTIONAL_RANGE = 100
# Metal passes the largest 16-bit number in a few voxels; where more do, the values are not Hounsfield units.
_MOST_BEYOND = 0.01


def scaled(volume: StoredVolume, stored: NDArray[Any]) -> NDArray[Any]:
    """The values meant by stored ones: float64, or as stored where the header does not scale."""
    if volume.slope == 1 and volume.inter == 0:
        return stored
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(stored.astype(np.float64) * volume.slope + volume.inter)


def as_labels(
    values: NDArray[Any], num_classes: int, ignore_label: int = -1
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Labels from 0 to `num_classes` - 1 or `ignore_label`, and which values are none even when rounded."""
    with np.errstate(invalid="ignore"):
        whole = values if values.dtype.kind in "iu" else np.rint(values)
        # Written so that NaN, for which every comparison is false, is not a label.
        right = (whole >= 0) & (whole < num_classes)
        if ignore_label >= 0:
            right |= whole == ignore_label
        if whole is not values:
            right &= np.abs(values - whole) <= TOLERANCE
        return whole.astype(np.uint8), ~right


def wrong_labels(values: Iterable[float], classes: Sequence[str]) -> dict[str, str]:
    """What to say about values that are not labels: `found`, `expected` and `fix` of an `InputError`."""
    seen = sorted(set(values))[:5]
    # Six digits show any fraction above the tolerance.
    digits = ", ".join(f"{value:.6g}" for value in seen)
    if all(abs(value - round(value)) <= TOLERANCE for value in seen if np.isfinite(value)):
        known = ", ".join(f"{label} {name}" for label, name in enumerate(classes))
        fix = f"map the labels to {known}, or leave the case out"
    else:
        fix = "resample the labels again with nearest neighbour, or leave the case out"
    return {
        "found": f"label values {digits}",
        "expected": f"whole numbers from 0 to {len(classes) - 1}, to within {TOLERANCE:g}",
        "fix": fix,
    }


def narrowed(values: NDArray[np.float32]) -> NDArray[np.float32] | NDArray[np.int16]:
    """Values as int16 where all of them are such numbers, else as they are: nothing is rounded or cut off."""
    if values.min(initial=0) < INT16.min or values.max(initial=0) > INT16.max:
        return values
    whole = values.astype(np.int16)
    return whole if np.array_equal(whole, values) else values


@dataclasses.dataclass
class HounsfieldRange:
    """What an image's finite values span, gathered chunk by chunk.

    Attributes:
        voxels: how many were seen.
        low: least value.
        high: largest value.
        fractional: how many are not whole numbers.
        beyond: how many lie outside 16-bit numbers, other than the least value: padding is that low.
    """

    voxels: int = 0
    low: float = np.inf
    high: float = -np.inf
    fractional: int = 0
    beyond: int = 0
    _at_low: int = 0

    def add(self, values: NDArray[Any]) -> None:
        """Counts finite values, of any numeric type."""
        if not values.size:
            return
        self.voxels += values.size
        low, high = float(values.min()), float(values.max())
        if values.dtype.kind == "f":
            self.fractional += int(np.count_nonzero(np.abs(values - np.rint(values)) > TOLERANCE))
        if low < INT16.min or high > INT16.max:
            self.beyond += int(np.count_nonzero((values < INT16.min) | (values > INT16.max)))
        if low < INT16.min and low <= self.low:
            count = int(np.count_nonzero(values == low))
            self._at_low = count + (self._at_low if low == self.low else 0)
        self.low, self.high = min(self.low, low), max(self.high, high)

    @property
    def cut(self) -> int:
        """How many values beyond 16 bits are not padding."""
        return self.beyond - self._at_low

    def wrong(self) -> dict[str, str] | None:
        """What to say about values that are not Hounsfield units, as `wrong_labels`; None if they may be."""
        found = f"values from {self.low:.6g} to {self.high:.6g}"
        if self.fractional and self.high - self.low < _LEAST_FRACTIONAL_RANGE:
            found += ", with fractions that rounding to whole Hounsfield units would lose"
        elif self.cut > _MOST_BEYOND * self.voxels:
            found += f", {self.cut / self.voxels:.1%} of the voxels beyond {INT16.min} .. {INT16.max}"
        else:
            return None
        return {
            "found": found,
            "expected": "a CT in Hounsfield units: air near -1000, organs from 0 to 100",
            "fix": "undo the scaling, or export the scan again with its rescale slope and intercept",
        }

    def mark(self) -> str:
        """What was lost of values that may be Hounsfield units; empty where nothing was."""
        if not self.beyond:
            return ""
        beyond = f"{counted(self.beyond, 'voxel')} beyond {INT16.min} .. {INT16.max} HU"
        return f"{beyond} (values from {self.low:.6g} to {self.high:.6g}): cut off there"
