"""Faults that show in the voxels of one file: NaN, ranges, windows, wrong labels."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.data.findings import Findings
from dsdenseunet.data.nifti_file import NiftiFile

# What a CT stores: 12 bits from air at -1024.
HU_RANGE = (-1024, 3071)
_INT16 = np.iinfo(np.int16)
# A CT of the abdomen holds air (lung, gut or outside) and bone; what is cut off piles up at the end.
_AIR_HU = -700
_BONE_HU = 1000
_PILED_SHARE = 0.002


@dataclasses.dataclass(frozen=True)
class Voxels:
    """The voxels of a file, and what was seen of the values that were stored.

    Attributes:
        array_IJK: int16 in the file's own order; NaN and infinity are -1024, values are rounded.
        non_finite: how many were NaN or infinite.
        fractional: how many were no whole numbers.
        low: least finite value.
        high: largest finite value.
        histogram: voxels by value from -32768 to 32767.
    """

    array_IJK: NDArray[np.int16]
    non_finite: int
    fractional: int
    low: float
    high: float
    histogram: NDArray[np.int64]

    @property
    def fingerprint(self) -> str:
        """Equal for equal content, whatever the axes' order and direction, compression and header."""
        digest = hashlib.sha256(repr(sorted(self.array_IJK.shape)).encode())
        digest.update(self.histogram.tobytes())
        return digest.hexdigest()

    def share(self, value: float) -> float:
        """Share of the voxels with one value."""
        index = int(np.clip(np.rint(value), _INT16.min, _INT16.max)) - _INT16.min
        return float(self.histogram[index] / self.array_IJK.size)


def read_voxels(nifti: NiftiFile) -> Voxels:
    """Reads a file whatever its values are, in chunks.

    Raises:
        InputError: truncated or damaged.
    """
    flat = np.empty(nifti.voxels, np.int16)
    histogram = np.zeros(_INT16.max - _INT16.min + 1, np.int64)
    filled = non_finite = fractional = 0
    low, high = np.inf, -np.inf
    for stored in nifti.chunks():
        values = stored.astype(np.float64) * nifti.slope + nifti.inter
        finite = np.isfinite(values)
        non_finite += int(values.size - np.count_nonzero(finite))
        if finite.any():
            low, high = min(low, float(values[finite].min())), max(high, float(values[finite].max()))
        values[~finite] = HU_RANGE[0]
        rounded = np.rint(values)
        # 32-bit numbers keep three decimals of a Hounsfield unit.
        fractional += int(np.count_nonzero(np.abs(values - rounded) > 1e-3))
        part = np.clip(rounded, _INT16.min, _INT16.max).astype(np.int16)
        flat[filled : filled + part.size] = part
        histogram += np.bincount(part.astype(np.int64) - _INT16.min, minlength=histogram.size)
        filled += part.size
    return Voxels(flat.reshape(nifti.shape_IJK, order="F"), non_finite, fractional, low, high, histogram)


def check_image(nifti: NiftiFile, voxels: Voxels) -> Findings:
    """Faults of a CT's values."""
    findings = Findings(nifti.path)
    findings.add_non_finite(voxels.non_finite, f"set them to {HU_RANGE[0]}", repairable=True)
    if not np.isfinite(voxels.low) or voxels.low == voxels.high:
        findings.add("error", "hu-constant", "all voxels have one value", "get the scan again")
        return findings
    if voxels.low < HU_RANGE[0] or voxels.high > HU_RANGE[1]:
        findings.add(
            "warning",
            "hu-range",
            f"values from {voxels.low:g} to {voxels.high:g}",
            f"clip to {HU_RANGE[0]} .. {HU_RANGE[1]}",
            True,
        )
    shifted = voxels.low >= 0
    if shifted:
        found = f"no value below 0 (from {voxels.low:g} to {voxels.high:g})"
        repair = "export again with the rescale intercept: air must be near -1000"
        findings.add("error", "hu-scale", found, repair)
    elif _windowed(voxels):
        found = (
            f"values from {voxels.low:g} to {voxels.high:g}, "
            f"{voxels.share(voxels.low):.1%} and {voxels.share(voxels.high):.1%} of the voxels at the ends"
        )
        findings.add(
            "error",
            "hu-windowed",
            found,
            "get the scan before its window was cut; what is lost can't be repaired",
        )
    return findings


def check_labels(nifti: NiftiFile, voxels: Voxels, num_classes: int = 3) -> Findings:
    """Faults of a label volume's values."""
    findings = Findings(nifti.path)
    findings.add_non_finite(voxels.non_finite, "annotate them, or leave the case out")
    if voxels.fractional:
        found = f"{voxels.fractional} voxels with fractions"
        findings.add("error", "label-values", found, "resample the labels again, nearest neighbour")
    elif voxels.low < 0 or voxels.high >= num_classes:
        seen = np.flatnonzero(voxels.histogram) + _INT16.min
        wrong = [str(value) for value in seen if not 0 <= value < num_classes]
        found = f"labels {', '.join(wrong[:5])}"
        findings.add("error", "label-values", found, "map the labels to 0 background, 1 liver, 2 tumour")
    elif nifti.dtype.kind == "f" and not findings:
        found = f"labels stored as {nifti.dtype.name}"
        findings.add("warning", "label-float", found, "store them as uint8", repairable=True)
    return findings


def _windowed(voxels: Voxels) -> bool:
    """Whether one end of the scale is cut where a CT goes on, with voxels piled up there."""
    no_air = voxels.low > _AIR_HU and voxels.share(voxels.low) > _PILED_SHARE
    no_bone = voxels.high < _BONE_HU and voxels.share(voxels.high) > _PILED_SHARE
    return no_air or no_bone or voxels.high - voxels.low <= 2 * 255
