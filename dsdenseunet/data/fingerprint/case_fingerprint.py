"""The fingerprint of one case: its grid, its classes, where its regions lie, and its intensities."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from dsdenseunet.data.fingerprint.intensities import Intensities, intensities_of
from dsdenseunet.data.intensity import with_channels
from dsdenseunet.data.scans import channel_files, nifti
from dsdenseunet.data.scans.grid import Spacing, axis_codes
from dsdenseunet.data.scans.layouts import Case
from dsdenseunet.data.scans.opening import patient_of
from dsdenseunet.tasks.task import Task

# Held at once for each voxel: the image of one channel, its labels, a mask, and what numbers its pieces.
_BYTES_PER_VOXEL = 8
Quantiles = NDArray[np.float32] | None


@dataclasses.dataclass(frozen=True)
class RegionShape:
    """Where a region of the task lies in a case that has it.

    Attributes:
        voxels: how many.
        box: first and one past the last index along (D, H, W).
        pieces: connected by faces.
        largest_share: of its voxels, those of the largest piece.
    """

    voxels: int
    box: tuple[tuple[int, int], ...]
    pieces: int
    largest_share: float

    @property
    def sides(self) -> tuple[int, ...]:
        """Of the box, in voxels along (D, H, W)."""
        return tuple(stop - start for start, stop in self.box)


@dataclasses.dataclass(frozen=True)
class CaseFingerprint:
    """What is known of one labelled case.

    Attributes:
        name: as `layouts.Case` has it.
        shape: voxels along (D, H, W).
        spacing_mm: between them.
        axes: where the axes of the file run, such as "RAS".
        dtype: in which the values are held exactly.
        class_voxels: one number a class.
        ignored_voxels: those that count nowhere.
        zero_share: of each channel's voxels, those that are exactly 0.
        regions: by name, those that the case has.
        foreground: of each channel, the values of all classes but background; None where there is none.
        everything: of each channel, the values of the whole volume.
        marks: what was assumed of the header.
        patient: the PatientID of DICOM files; empty where none is known.
    """

    name: str
    shape: tuple[int, int, int]
    spacing_mm: Spacing
    axes: str
    dtype: str
    class_voxels: tuple[int, ...]
    ignored_voxels: int
    zero_share: tuple[float, ...]
    regions: dict[str, RegionShape]
    foreground: tuple[Intensities | None, ...]
    everything: tuple[Intensities, ...]
    marks: tuple[str, ...]
    patient: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **dataclasses.asdict(self),
            "spacing_mm": [float(f"{side:.6g}") for side in self.spacing_mm],
            "zero_share": [round(share, 4) for share in self.zero_share],
            "foreground": [found.as_json() if found else None for found in self.foreground],
            "everything": [found.as_json() for found in self.everything],
        }


def fingerprint_case(case: Case, task: Task) -> tuple[CaseFingerprint, tuple[Quantiles, ...]]:
    """Reads one case; also returns each channel's quantiles of the foreground, by which cases are pooled.

    Args:
        case: its files.
        task: what the images and labels are read as.

    Raises:
        InputError: as `nifti.read_image` and `read_labels`, or a case without labels.
    """
    labels = case.require_labels()
    channel_files.require(case.images, task.channels)
    image = nifti.read_image(case.images, channels=task.channels, bytes_per_voxel=_BYTES_PER_VOXEL)
    labels_DHW = nifti.read_labels(labels, task, like=image.grid, with_ignored=True).array_DHW
    counts = np.sum([np.bincount(plane.ravel(), minlength=256) for plane in labels_DHW], axis=0)
    classes = len(task.classes)
    foreground_DHW = (labels_DHW > 0) & (labels_DHW < classes)
    channels = np.moveaxis(with_channels(image.array_DHW), -1, 0)
    inside = [intensities_of(values_DHW[foreground_DHW]) for values_DHW in channels]
    whole = [intensities_of(values_DHW.reshape(-1)) for values_DHW in channels]
    regions = {region.name: _shape_of(region.mask(labels_DHW)) for region in task.regions}
    depth, height, width = labels_DHW.shape
    found = CaseFingerprint(
        name=case.name,
        shape=(depth, height, width),
        spacing_mm=image.spacing_mm,
        axes=axis_codes(image.grid),
        dtype=image.array_DHW.dtype.name,
        class_voxels=tuple(map(int, counts[:classes])),
        ignored_voxels=int(counts[classes:].sum()),
        zero_share=tuple(float(np.mean(values_DHW == 0)) for values_DHW in channels),
        regions={name: shape for name, shape in regions.items() if shape},
        foreground=tuple(one[0] if one else None for one in inside),
        everything=tuple(one[0] for one in whole if one),
        marks=image.grid.marks,
        patient=patient_of(case.image),
    )
    return found, tuple(one[1] if one else None for one in inside)


def _shape_of(mask_DHW: NDArray[np.bool_]) -> RegionShape | None:
    box = _box(mask_DHW)
    if not box:
        return None
    inside = np.ascontiguousarray(mask_DHW[tuple(slice(*ends) for ends in box)])
    pieces, count = cc3d.connected_components(inside, connectivity=6, return_N=True)
    sizes = np.bincount(pieces.ravel())[1:]
    return RegionShape(int(sizes.sum()), box, int(count), round(float(sizes.max() / sizes.sum()), 4))


def _box(mask_DHW: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """First and one past the last index along each axis; empty for an empty mask."""
    planes: Sequence[tuple[int, int]] = ((1, 2), (0, 2), (0, 1))
    hits = [np.flatnonzero(mask_DHW.any(axis=others)) for others in planes]
    return tuple((int(hit[0]), int(hit[-1]) + 1) for hit in hits) if hits[0].size else ()
