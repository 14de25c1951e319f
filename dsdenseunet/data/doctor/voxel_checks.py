"""Faults that show in the voxels of one file: NaN, ranges, windows, wrong labels."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.data.doctor.findings import Findings
from dsdenseunet.data.memory import check_room
from dsdenseunet.data.scans import stored_values
from dsdenseunet.data.scans.nifti_file import NiftiFile
from dsdenseunet.data.scans.stored_values import INT16, HounsfieldRange
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.task import Task

# What a CT stores: 12 bits from air at -1024.
HU_RANGE = (-1024, 3071)
# What the examination of a case holds of image and labels, connected pieces included.
_BYTES_PER_VOXEL = 16
# A CT of the abdomen holds air (lung, gut or outside) and bone; what is cut off piles up at the end.
_AIR_HU = -700
_BONE_HU = 1000
_PILED_SHARE = 0.002
_EXAMPLES = 5


@dataclasses.dataclass(frozen=True)
class Voxels:
    """The voxels of a file, and what was seen of the values that were stored.

    Attributes:
        array_IJK: int16 in the file's own order; NaN and infinity are -1024, values are rounded.
        non_finite: how many were NaN or infinite.
        finite: what the others span.
        fractions: a few values that are no whole numbers.
        histogram: finite voxels by value from -32768 to 32767.
    """

    array_IJK: NDArray[np.int16]
    non_finite: int
    finite: HounsfieldRange
    fractions: tuple[float, ...]
    histogram: NDArray[np.int64]

    @property
    def fingerprint(self) -> str:
        """Equal for equal content, whatever the axes' order and direction, compression and header."""
        digest = hashlib.sha256(repr(sorted(self.array_IJK.shape)).encode())
        digest.update(self.histogram.tobytes())
        return digest.hexdigest()

    def share(self, value: float) -> float:
        """Share of the voxels with one value."""
        index = int(np.clip(np.rint(value), INT16.min, INT16.max)) - INT16.min
        return float(self.histogram[index] / self.array_IJK.size)


def read_voxels(nifti: NiftiFile) -> Voxels:
    """Reads a file whatever its values are, block by block.

    Raises:
        InputError: truncated or damaged, or too large for this machine.
    """
    check_room(nifti.path, nifti.shape_IJK, _BYTES_PER_VOXEL)
    array_IJK = np.empty(nifti.shape_IJK, np.int16, order="F")
    histogram = np.zeros(INT16.max - INT16.min + 1, np.int64)
    finite, fractions, non_finite = HounsfieldRange(), set[float](), 0
    for place, stored in nifti.blocks():
        values = stored_values.scaled(nifti, stored).astype(np.float64)
        numbers = np.isfinite(values)
        non_finite += int(values.size - np.count_nonzero(numbers))
        before = finite.fractional
        finite.add(values[numbers])
        values[~numbers] = HU_RANGE[0]
        rounded = np.rint(values)
        if finite.fractional > before and len(fractions) < _EXAMPLES:
            fractions |= set(values[np.abs(values - rounded) > stored_values.TOLERANCE][:_EXAMPLES].tolist())
        part = np.clip(rounded, INT16.min, INT16.max).astype(np.int16)
        array_IJK[place] = part
        histogram += np.bincount(part[numbers].astype(np.int64) - INT16.min, minlength=histogram.size)
    return Voxels(array_IJK, non_finite, finite, tuple(sorted(fractions)[:_EXAMPLES]), histogram)


def check_image(nifti: NiftiFile, voxels: Voxels) -> Findings:
    """Faults of a CT's values."""
    findings = Findings(nifti.path)
    findings.add_non_finite(voxels.non_finite, f"set them to {HU_RANGE[0]}", repairable=True)
    low, high = voxels.finite.low, voxels.finite.high
    if not np.isfinite(low) or low == high:
        findings.add("error", "hu-constant", "all voxels have one value", "get the scan again")
        return findings
    if wrong := voxels.finite.wrong():
        findings.add("error", "hu-scale", wrong["found"], wrong["fix"])
        return findings
    if low < HU_RANGE[0] or high > HU_RANGE[1]:
        found = voxels.finite.mark() or f"values from {low:g} to {high:g}"
        findings.add("warning", "hu-range", found, f"clip to {HU_RANGE[0]} .. {HU_RANGE[1]}", True)
    if low >= 0:
        found = f"no value below 0 (from {low:g} to {high:g})"
        repair = "export again with the rescale intercept: air must be near -1000"
        findings.add("error", "hu-scale", found, repair)
    elif _windowed(voxels):
        found = (
            f"values from {low:g} to {high:g}, "
            f"{voxels.share(low):.1%} and {voxels.share(high):.1%} of the voxels at the ends"
        )
        findings.add(
            "error",
            "hu-windowed",
            found,
            "get the scan before its window was cut; what is lost can't be repaired",
        )
    return findings


def check_labels(nifti: NiftiFile, voxels: Voxels, task: Task = lits.TASK) -> Findings:
    """Faults of a label volume's values."""
    findings = Findings(nifti.path)
    findings.add_non_finite(voxels.non_finite, "annotate them, or leave the case out")
    if wrong := voxels.fractions or _whole_numbers(voxels, len(task.classes)):
        said = stored_values.wrong_labels(wrong, task.classes)
        findings.add("error", "label-values", f"{said['found']}; expected {said['expected']}", said["fix"])
    elif not findings and (nifti.dtype.kind == "f" or (nifti.slope, nifti.inter) != (1, 0)):
        scale = "" if nifti.slope == 1 else f" to be multiplied by {nifti.slope:.6g}"
        found = f"labels stored as {nifti.dtype.name}{scale}"
        findings.add("warning", "label-float", found, "store them as uint8", repairable=True)
    return findings


def _whole_numbers(voxels: Voxels, num_classes: int) -> list[float]:
    """The whole numbers in a label volume that are no labels."""
    seen = (np.flatnonzero(voxels.histogram) + INT16.min).tolist()
    ends = {INT16.min: voxels.finite.low, INT16.max: voxels.finite.high}
    return [ends.get(value, float(value)) for value in seen if not 0 <= value < num_classes]


def _windowed(voxels: Voxels) -> bool:
    """Whether one end of the scale is cut where a CT goes on, with voxels piled up there."""
    low, high = voxels.finite.low, voxels.finite.high
    no_air = low > _AIR_HU and voxels.share(low) > _PILED_SHARE
    no_bone = high < _BONE_HU and voxels.share(high) > _PILED_SHARE
    return no_air or no_bone or high - low <= 2 * 255
