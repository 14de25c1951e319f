"""The one door through which a stored volume is read, NIfTI or DICOM: every command comes by here."""

from __future__ import annotations

import os
from pathlib import Path

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import dicom_file
from dsdenseunet.data.scans.grid import Grid
from dsdenseunet.data.scans.nifti_file import read_header
from dsdenseunet.data.scans.stored_volume import StoredVolume
from dsdenseunet.tasks.task import Task


def open_volume(path: str | os.PathLike[str], channels: int | None = 1) -> StoredVolume:
    """Reads and checks what a volume's header says; no voxel is read.

    Args:
        path: a NIfTI file; the folder of a DICOM series, or a DICOM file that holds all of one; a DICOM
            segmentation, whose voxels are then numbers of segments.
        channels: how many there must be (None: however many there are). DICOM has one.

    Raises:
        InputError: as `nifti_file.read_header` and `dicom_series.open_series`.
    """
    path = Path(path)
    kind = dicom_file.kind_of_file(path) if path.is_file() else ""
    if not (kind or path.is_dir()):
        return read_header(path, channels)
    # Loading pydicom takes a third of a second, which those who have NIfTI need not wait for.
    from dsdenseunet.data.scans import dicom_seg, dicom_series

    if kind in (dicom_file.SLICE, dicom_file.OTHER):
        found = (
            "one slice of a DICOM series" if kind == dicom_file.SLICE else "DICOM, but no CT, MR or PET image"
        )
        raise InputError(
            path, found=found, expected="the folder that holds a series", fix="name the folder in its place"
        )
    if kind == dicom_file.SEGMENTATION:
        stored: StoredVolume = dicom_seg.open_segmentation(path)
    else:
        stored = dicom_series.open_series(path)
    if channels not in (None, 1):
        raise InputError(
            path,
            found="one DICOM series",
            expected=f"{channels} channels, as the task has",
            fix="end the names of the channels' folders in _0000, _0001, ...; or give the task one channel",
        )
    return stored


def open_labels(path: str | os.PathLike[str], task: Task, like: Grid | None = None) -> StoredVolume:
    """Opens a label volume, as `open_volume`; voxels of a DICOM segmentation are labels of the task.

    Args:
        path: a NIfTI file or a DICOM segmentation.
        task: whose classes a segmentation's segments are called by.
        like: grid of the image that the labels belong to. A segmentation is put on to it, NIfTI stays
            as it is.

    Raises:
        InputError: as `open_volume` and `dicom_seg.as_labels`; or a DICOM image.
    """
    stored = open_volume(path)
    if not is_dicom(path):
        return stored
    from dsdenseunet.data.scans import dicom_seg

    if not isinstance(stored, dicom_seg.DicomSegmentation):
        raise InputError(
            path,
            found="a DICOM image",
            expected="labels: NIfTI or a DICOM segmentation",
            fix="check the path",
        )
    return dicom_seg.as_labels(stored, task.classes, like)


def patient_of(path: str | os.PathLike[str]) -> str:
    """The PatientID of a DICOM volume; empty for NIfTI, and where there is none.

    Raises:
        InputError: the file cannot be read.
    """
    path = Path(path)
    if not is_dicom(path):
        return ""
    from dsdenseunet.data.scans.dicom_slices import read_dataset

    one = next(iter(dicom_file.slices_in(path)), None) if path.is_dir() else path
    return str(read_dataset(one, tags=["PatientID"]).get("PatientID") or "").strip() if one else ""


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Whether a volume is a DICOM file, or a folder, which only a series of them can be."""
    return Path(path).is_dir() or bool(dicom_file.kind_of_file(path))


def is_segmentation(path: str | os.PathLike[str]) -> bool:
    """Whether a volume is a DICOM segmentation."""
    return dicom_file.kind_of_file(path) == dicom_file.SEGMENTATION
