"""Names of DICOM volumes in the folders of an archive, where nothing is named as a data set's files are.

There a series is called by all folders that lead to it, as their own names can be the same for every patient,
and a segmentation is called as the series that it was made from, wherever it lies.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import printable
from dsdenseunet.data.scans import dicom_file
from dsdenseunet.data.scans.walk import SEGMENTATION, VolumeFile


def named_by_series(files: Sequence[VolumeFile], is_named: Callable[[VolumeFile], bool]) -> list[VolumeFile]:
    """The same volumes, DICOM among them with the names that series give.

    Headers are read only where images and segmentations lie in one tree.

    Args:
        files: of one walk.
        is_named: whether a volume's name or folder says what it is; it then keeps its name.
    """
    named = [
        dataclasses.replace(file, stem=_joined(file)) if file.is_dicom_image and not is_named(file) else file
        for file in files
    ]
    segmentations = [file for file in named if file.form == SEGMENTATION]
    images: dict[str, list[VolumeFile]] = defaultdict(list)
    for file in named if segmentations else []:
        if file.is_dicom_image and (series := _series_of(file.path)):
            images[series].append(file)
    sources: dict[Path, VolumeFile] = {}
    for file in segmentations if images else []:
        found = [image for series in _referenced(file.path) for image in images.get(series, [])]
        if len(found) == 1 and not is_named(found[0]):
            sources[file.path] = found[0]
    referred = {image.path for image in sources.values()}
    return [
        dataclasses.replace(
            file,
            stem=sources[file.path].stem if file.path in sources else file.stem,
            is_referred_to=file.path in referred,
        )
        for file in named
    ]


def _joined(file: VolumeFile) -> str:
    above = file.path.parts[-1 - file.depth : -1]
    return "_".join((*map(printable, above), file.stem))


def _series_of(path: Path) -> str:
    """The UID of an image's series; empty where it cannot be read, which opening it will tell."""
    from dsdenseunet.data.scans.dicom_slices import read_dataset

    try:
        one = dicom_file.slices_in(path)[0] if path.is_dir() else path
        return str(read_dataset(one, tags=["SeriesInstanceUID"]).get("SeriesInstanceUID", ""))
    except (InputError, OSError):
        return ""


def _referenced(path: Path) -> list[str]:
    """The UIDs of the series that a segmentation was made from."""
    from dsdenseunet.data.scans.dicom_slices import read_dataset

    try:
        found = read_dataset(path, tags=["ReferencedSeriesSequence"]).get("ReferencedSeriesSequence") or ()
    except InputError:
        return []
    return [str(item.get("SeriesInstanceUID", "")) for item in found]
