"""A DICOM series as one volume: the files of a folder, or the frames of one file.

Its voxels are (column, row, slice), slices in the order of their normal. Every check is made from headers
alone, so that the grid is known, and is known to be one, before any pixel is read.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import pixel_array

from dsdenseunet.core.errors import InputError, of_system
from dsdenseunet.core.words import counted
from dsdenseunet.data.scans import dicom_file, header_grid
from dsdenseunet.data.scans.dicom_slices import Slice, read_dataset, read_headers, slices_of
from dsdenseunet.data.scans.dicom_stack import stacked
from dsdenseunet.data.scans.stored_volume import Place, StoredVolume

_SCANNER = 1
# Of values to which a whole number was added; 16 bits do not hold all that 16 bits and a number give.
_SHIFTED, _FARTHEST = np.dtype(np.int32), 2**16


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DicomSeries(StoredVolume):
    """A series whose slices were found to be one volume.

    Voxels are handed out as they are stored, with one slope and intercept. Where slices have their own, as
    those of a PET do, they are handed out rescaled, as float64. Where only whole numbers are added, as in
    nearly every CT, they are handed out rescaled, too, as integers: reading takes half the time then.

    Attributes:
        slices: in the order of the third axis.
        rescaled: whether voxels are handed out as the values that are meant, by each slice's own numbers.
    """

    slices: tuple[Slice, ...]
    rescaled: bool

    def channel_blocks(self) -> Iterator[tuple[int, Place, np.ndarray]]:
        """Yields channel 0, place and voxels of one slice after the other.

        Raises:
            InputError: a file without pixels, or with pixels that are damaged or cannot be decoded.
        """
        path, dataset = None, Dataset()
        for k, one in enumerate(self.slices):
            if one.path != path:
                path, dataset = one.path, read_dataset(one.path, pixels=True)
            values_JI = _pixels(one, dataset)
            if self.rescaled and self.dtype == _SHIFTED:
                values_JI = values_JI.astype(_SHIFTED) + int(one.inter)
            elif self.rescaled:
                values_JI = values_JI * one.slope + one.inter
            yield 0, (slice(None), slice(None), slice(k, k + 1)), values_JI.T[:, :, None]


def open_series(path: Path) -> DicomSeries:
    """Opens a folder with a file for each slice, or a file with all of them.

    Raises:
        InputError: no DICOM images, images of several series, or slices that are not one volume
            (`dicom_stack.stacked`); attributes that are missing, as `dicom_slices.slices_of`.
    """
    try:
        paths = dicom_file.slices_in(path) if path.is_dir() else [path]
    except OSError as error:
        raise of_system(error, path) from error
    if not paths:
        raise InputError(
            path,
            found="a folder without CT, MR or PET images in DICOM",
            expected="a NIfTI file, or the folder of a DICOM series",
            fix="check the path",
        )
    headers = read_headers(paths)
    series = _one_series(path, headers)
    found = [one for file, header in zip(paths, headers, strict=True) for one in slices_of(file, header)]
    slices, affine, marks = stacked(found, path)
    first = slices[0]
    rescaling = {(one.slope, one.inter) for one in slices}
    small = first.dtype.itemsize < _SHIFTED.itemsize
    shifted = small and rescaling != {(1, 0)} and all(map(_is_shift, rescaling))
    rescaled = shifted or len(rescaling) > 1
    dtype = _SHIFTED if shifted else np.dtype(np.float64) if rescaled else first.dtype
    shape = (*first.shape, len(slices))
    return DicomSeries(
        path=path,
        header=header_of(shape, affine, dtype),
        shape_IJK=shape,
        dtype=dtype,
        slope=1.0 if rescaled else first.slope,
        inter=0.0 if rescaled else first.inter,
        series=(series,),
        marks=tuple(marks),
        slices=tuple(slices),
        rescaled=rescaled,
    )


def header_of(
    shape: tuple[int, int, int], affine: NDArray[np.float64], dtype: np.dtype[Any]
) -> nib.Nifti1Header:
    """A NIfTI header that places voxels as an affine in mm does."""
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    header.set_xyzt_units("mm")
    header.set_sform(affine, _SCANNER)
    header_grid.set_qform(header, affine, _SCANNER)
    return header


def _one_series(path: Path, headers: Sequence[Dataset]) -> str:
    """The UID of the series that all files are of."""
    images: dict[str, list[Dataset]] = defaultdict(list)
    for header in headers:
        images[str(header.get("SeriesInstanceUID", ""))].append(header)
    if len(images) > 1:
        named = [
            f"{one[0].get('SeriesDescription') or 'no description'!s} "
            f"({one[0].get('Modality', '?')}, {counted(len(one), 'image')})"
            for one in images.values()
        ]
        raise InputError(
            path,
            found=f"images of {len(images)} series in one folder: {'; '.join(named)}",
            expected="one series",
            fix="put the images of each series into a folder of its own",
        )
    return next(iter(images))


def _is_shift(rescaling: tuple[float, float]) -> bool:
    slope, inter = rescaling
    return slope == 1 and inter.is_integer() and abs(inter) <= _FARTHEST


def _pixels(one: Slice, dataset: Dataset) -> NDArray[Any]:
    if "PixelData" not in dataset:
        raise InputError(
            one.path,
            found="no pixel data",
            expected="an image",
            fix="export the series again, with its pixels",
        )
    try:
        pixels = pixel_array(dataset, index=one.frame or 0)
    except Exception as error:  # whatever a decoder makes of damaged pixels
        raise InputError(
            one.path,
            found=f"pixels that cannot be read: {' '.join(str(error).split())}",
            expected=f"{one.shape[0]} x {one.shape[1]} pixels of {one.dtype}",
            fix="copy or export the file again",
        ) from error
    if pixels.shape != one.shape[::-1] or pixels.dtype.newbyteorder("=") != one.dtype:
        raise InputError(
            one.path,
            found=f"{pixels.shape} pixels of {pixels.dtype}",
            expected=f"{one.shape[::-1]} of {one.dtype}, as the header says",
            fix="export the file again",
        )
    return np.asarray(pixels)
