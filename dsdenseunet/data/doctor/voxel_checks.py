"""Faults that show in the voxels of one file: NaN, ranges, windows, wrong labels."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.data.doctor.findings import Findings
from dsdenseunet.data.memory import check_room
from dsdenseunet.data.scans import stored_values
from dsdenseunet.data.scans.stored_values import INT16, HounsfieldRange
from dsdenseunet.data.scans.stored_volume import StoredVolume
from dsdenseunet.tasks.channel import Channel
from dsdenseunet.tasks.task import Task

# What a CT stores: 12 bits from air at -1024.
HU_RANGE = (-1024, 3071)
# What the examination of a case holds of image and labels, connected pieces included.
_BYTES_PER_VOXEL = 16
# A CT holds air (outside, in lungs or in the gut) and bone; what is cut off piles up at the end.
_AIR_HU = -700
_BONE_HU = 1000
_PILED_SHARE = 0.002
_EXAMPLES = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Voxels:
    """The voxels of one channel of a file, and what was seen of the values that were stored.

    Attributes:
        array_IJK: in the file's own order. Labels and Hounsfield units are rounded to int16, and NaN and
            infinity are -1024 there; other intensities are exact, as int16 or float32, with 0 in their place.
        non_finite: how many were NaN or infinite.
        finite: what the others span.
        fractions: a few values that are not whole numbers.
        histogram: finite voxels by value from -32768 to 32767; empty where intensities are exact.
    """

    array_IJK: NDArray[np.number]
    non_finite: int
    finite: HounsfieldRange
    fractions: tuple[float, ...]
    histogram: NDArray[np.int64]

    @property
    def fingerprint(self) -> str:
        """Equal for equal content, whatever the axes' order and direction, compression and header."""
        digest = hashlib.sha256(repr(sorted(self.array_IJK.shape)).encode())
        counts = self.histogram if self.histogram.size else np.sort(self.array_IJK, axis=None)
        digest.update(counts.tobytes())
        return digest.hexdigest()

    def share(self, value: float) -> float:
        """Share of the voxels with one value."""
        index = int(np.clip(np.rint(value), INT16.min, INT16.max)) - INT16.min
        return float(self.histogram[index] / self.array_IJK.size)


def read_voxels(file: StoredVolume, exact: bool = False) -> tuple[Voxels, ...]:
    """Reads each channel of a file whatever its values are, block by block.

    Args:
        file: as opened.
        exact: whether values are kept as they are, not rounded to whole numbers.

    Raises:
        InputError: truncated or damaged, or too large for this machine.
    """
    check_room(file.path, file.shape_IJK, _BYTES_PER_VOXEL * file.channels)
    read = [_Reading(file, exact) for _ in range(file.channels)]
    for channel, place, stored in file.channel_blocks():
        read[channel].add(place, stored)
    return tuple(channel.voxels() for channel in read)


class _Reading:
    """One channel while its blocks arrive."""

    def __init__(self, file: StoredVolume, exact: bool):
        self._file, self._exact = file, exact
        self._array_IJK = np.empty(file.shape_IJK, np.float32 if exact else np.int16, order="F")
        self._histogram = np.zeros(0 if exact else INT16.max - INT16.min + 1, np.int64)
        self._finite, self._fractions, self._non_finite = HounsfieldRange(), set[float](), 0

    def add(self, place: tuple[slice, slice, slice], stored: NDArray[np.number]) -> None:
        with np.errstate(over="ignore"):
            kind = np.float32 if self._exact else np.float64
            values = stored_values.scaled(self._file, stored).astype(kind)
        numbers = np.isfinite(values)
        self._non_finite += int(values.size - np.count_nonzero(numbers))
        before = self._finite.fractional
        self._finite.add(values[numbers])
        if self._exact:
            values[~numbers] = 0
            self._array_IJK[place] = values
            return
        values[~numbers] = HU_RANGE[0]
        rounded = np.rint(values)
        if self._finite.fractional > before and len(self._fractions) < _EXAMPLES:
            fractional = values[np.abs(values - rounded) > stored_values.TOLERANCE]
            self._fractions |= set(fractional[:_EXAMPLES].tolist())
        part = np.clip(rounded, INT16.min, INT16.max).astype(np.int16)
        self._array_IJK[place] = part
        found = part[numbers].astype(np.int64) - INT16.min
        self._histogram += np.bincount(found, minlength=self._histogram.size)

    def voxels(self) -> Voxels:
        array_IJK = stored_values.narrowed(self._array_IJK) if self._exact else self._array_IJK
        fractions = tuple(sorted(self._fractions)[:_EXAMPLES])
        return Voxels(array_IJK, self._non_finite, self._finite, fractions, self._histogram)


def check_image(file: StoredVolume, channels: Sequence[Channel], voxels: Sequence[Voxels]) -> Findings:
    """Faults of an image's values.

    Args:
        file: as opened.
        channels: what the task says of its channels.
        voxels: of each of them.
    """
    findings = Findings(file.path)
    for channel, found in zip(channels, voxels, strict=True):
        name = f"channel {channel.name}: " if len(channels) > 1 else ""
        fill = HU_RANGE[0] if found.histogram.size else 0
        findings.add_non_finite(found.non_finite, f"set them to {fill}", repairable=True, of=name)
        if not np.isfinite(found.finite.low) or found.finite.low == found.finite.high:
            findings.add("error", "image-constant", f"{name}all voxels have one value", "get the scan again")
        elif found.histogram.size:
            _check_hounsfield(findings, found, name)
    return findings


def _check_hounsfield(findings: Findings, voxels: Voxels, name: str) -> None:
    """Adds what is wrong with values that should be Hounsfield units."""
    low, high = voxels.finite.low, voxels.finite.high
    if wrong := voxels.finite.wrong():
        findings.add("error", "hu-scale", name + wrong["found"], wrong["fix"])
        return
    if low < HU_RANGE[0] or high > HU_RANGE[1]:
        found = voxels.finite.mark() or f"values from {low:g} to {high:g}"
        findings.add("warning", "hu-range", name + found, f"clip to {HU_RANGE[0]} .. {HU_RANGE[1]}", True)
    if low >= 0:
        found = f"{name}no value below 0 (from {low:g} to {high:g})"
        repair = "export again with the rescale intercept: air must be near -1000"
        findings.add("error", "hu-scale", found, repair)
    elif _windowed(voxels):
        found = (
            f"{name}values from {low:g} to {high:g}, "
            f"{voxels.share(low):.1%} and {voxels.share(high):.1%} of the voxels at the ends"
        )
        findings.add(
            "error",
            "hu-windowed",
            found,
            "get the scan before its window was cut; what is lost can't be repaired",
        )


def check_labels(file: StoredVolume, voxels: Voxels, task: Task) -> Findings:
    """Faults of a label volume's values."""
    findings = Findings(file.path)
    findings.add_non_finite(voxels.non_finite, "annotate them, or leave the case out")
    if wrong := voxels.fractions or _whole_numbers(voxels, task):
        said = stored_values.wrong_labels(wrong, task.classes)
        findings.add("error", "label-values", f"{said['found']}; expected {said['expected']}", said["fix"])
    elif not findings and (file.dtype.kind == "f" or (file.slope, file.inter) != (1, 0)):
        scale = "" if file.slope == 1 else f" to be multiplied by {file.slope:.6g}"
        found = f"labels stored as {file.dtype.name}{scale}"
        findings.add("warning", "label-float", found, "store them as uint8", repairable=True)
    return findings


def _whole_numbers(voxels: Voxels, task: Task) -> list[float]:
    """The whole numbers in a label volume that are not labels."""
    labels = {*range(len(task.classes)), task.ignore_label} - {-1}
    seen = (np.flatnonzero(voxels.histogram) + INT16.min).tolist()
    ends = {INT16.min: voxels.finite.low, INT16.max: voxels.finite.high}
    return [ends.get(value, float(value)) for value in seen if value not in labels]


def _windowed(voxels: Voxels) -> bool:
    """Whether one end of the scale is cut within the range of a CT, with voxels piled up there."""
    low, high = voxels.finite.low, voxels.finite.high
    no_air = low > _AIR_HU and voxels.share(low) > _PILED_SHARE
    no_bone = high < _BONE_HU and voxels.share(high) > _PILED_SHARE
    return no_air or no_bone or high - low <= 2 * 255
