"""Volumes in one canonical form, NIfTI or DICOM, and label volumes as NIfTI on the grid that they came from.

Canonical form, of every array in this project: axes (D, H, W), where the index grows towards the
patient's head (D: inferior to superior), front (H: posterior to anterior) and right side (W: left to
right): "RAS" orientation, slowest axis first. Spacing is in mm and in the same order. This module is
the only one that knows of axis orders and flips; `header_grid` says what affine a header means, and
`opening` what a path leads to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.memory import check_room
from dsdenseunet.data.scans import channel_files, header_grid, stored_values
from dsdenseunet.data.scans.grid import Grid, Spacing, Volume, grid_of, orientation
from dsdenseunet.data.scans.opening import is_segmentation, open_labels, open_volume
from dsdenseunet.data.scans.stored_volume import Header, StoredVolume
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.channel import Channel, are_hounsfield
from dsdenseunet.tasks.task import Task

_INT16 = np.iinfo(np.int16)
_WITHIN_INT16 = tuple(map(np.dtype, (np.int8, np.uint8, np.int16)))


def read_grid(path: str | os.PathLike[str]) -> Grid:
    """Reads only the grid of a volume: shape, affine, orientation.

    Raises:
        InputError: as `opening.open_volume`, or a header from which no voxel size can be read.
    """
    return grid_of(open_volume(path, channels=None))


def read_grids(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> tuple[Grid, Grid]:
    """The grids of two label volumes of one case, on which they are to be read.

    A DICOM segmentation, which may lack slices, gets the other's; of two, both get that of the one with more
    voxels.

    Raises:
        InputError: as `read_grid`.
    """
    grids = read_grid(first), read_grid(second)
    spans = [is_segmentation(path) for path in (first, second)]
    if not any(spans):
        return grids
    whole = (
        max(grids, key=lambda grid: math.prod(grid.shape_IJK)) if all(spans) else grids[spans.index(False)]
    )
    return whole, whole


def read_image(
    path: str | os.PathLike[str] | Sequence[Path],
    *,
    channels: Sequence[Channel] = lits.TASK.channels,
    bytes_per_voxel: int = 3,
) -> Volume:
    """Reads an image, the header's slope applied.

    A CT, whose channels are all in Hounsfield units, becomes int16, rounded. It takes two bytes a voxel,
    whatever the stored type and the orientation. Values beyond 16 bits, as metal has, are cut off under a
    mark of the volume's grid; an image whose values cannot be Hounsfield units is refused
    (`stored_values.HounsfieldRange`). Any other image becomes int16 where that holds every value exactly, and
    float32 otherwise.

    Args:
        path: the file, or the folder of a DICOM series; or those of the channels, in their order.
        channels: of the task; several in one file lie along its fourth axis.
        bytes_per_voxel: what the caller will hold at once for each voxel, this image included; compared
            with the machine's memory before any is taken. The default is an image and its labels.

    Raises:
        InputError: no such volume, truncated or damaged, not 3D, too large for this machine, NaN or infinite
            voxels, values that are not Hounsfield units, or a header from which no voxel size can be read;
            a channel's file that is missing or has another grid.
    """
    files, grids = channel_files.open_scan(
        [Path(path)] if isinstance(path, str | os.PathLike) else path, channels
    )
    is_ct = are_hounsfield(channels)
    # Beside what the caller counts: further channels, and of float32 four bytes more until it is narrowed.
    more = len(channels) * (2 if is_ct else 6) - 2
    check_room(files[0].path, files[0].shape_IJK, bytes_per_voxel + more)
    grid = channel_files.common_grid(files, grids)
    if not is_ct:
        return _intensities(files, grids, grid)
    seen = {file.path: stored_values.HounsfieldRange() for file in files}

    def to_hu(file: StoredVolume, stored: np.ndarray) -> np.ndarray:
        values = stored_values.scaled(file, stored)
        kind, size = values.dtype.kind, values.dtype.itemsize
        if size == 1 or (kind == "i" and size == 2):
            return values
        if not np.isfinite(values).all():
            raise _not_finite(file, "finite Hounsfield units", -1024)
        seen[file.path].add(values)
        low = 0 if kind == "u" else _INT16.min
        return np.clip(values if kind in "iu" else np.rint(values), low, _INT16.max)

    array_DHW = _read(files, grids, np.dtype(np.int16), to_hu)
    for place, found in seen.items():
        if wrong := found.wrong():
            raise InputError(place, **wrong)
        if mark := found.mark():
            grid = dataclasses.replace(grid, marks=(*grid.marks, mark))
    return Volume(array_DHW, grid.spacing_mm, grid)


def _intensities(files: Sequence[StoredVolume], grids: Sequence[Grid], grid: Grid) -> Volume:
    """An image of any scale, as narrow as it can be kept exactly."""

    def to_float(file: StoredVolume, stored: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            values = stored_values.scaled(file, stored).astype(np.float32)
        if not np.isfinite(values).all():
            raise _not_finite(file, "finite numbers", 0)
        return values

    exact = all(
        (file.slope, file.inter) == (1, 0) and file.dtype.newbyteorder("=") in _WITHIN_INT16 for file in files
    )
    if exact:
        array_DHW = _read(files, grids, np.dtype(np.int16), lambda _, stored: stored)
        return Volume(array_DHW, grid.spacing_mm, grid)
    array_DHW = stored_values.narrowed(_read(files, grids, np.dtype(np.float32), to_float))
    return Volume(array_DHW, grid.spacing_mm, grid)


def _not_finite(file: StoredVolume, expected: str, such_as: int) -> InputError:
    return InputError(
        file.path,
        found="NaN or infinite voxels",
        expected=expected,
        fix=f"repair the volume, e.g. set such voxels to {such_as}, or leave the case out",
    )


def read_labels(
    path: str | os.PathLike[str],
    task: Task = lits.TASK,
    like: Grid | None = None,
    *,
    with_ignored: bool = False,
) -> Volume:
    """Reads a label volume as uint8; values within 0.001 of a whole number are that number.

    Args:
        path: a NIfTI file, or a DICOM segmentation, whose segments are called as the task's classes.
        task: whose labels they must be.
        like: grid of the image that the labels belong to. LiTS pairs image and labels voxel by voxel
            and some of its label files have a nonsense affine: with `like`, the labels are turned as
            the image is, their own affine is ignored, and the shape must be the image's. A DICOM
            segmentation, which may hold some slices only, says where it lies and is put there.
        with_ignored: whether the task's `ignore_label` may be among them.

    Raises:
        InputError: as `read_image`; also other labels, or a shape that is not `like`'s.
    """
    file = open_labels(path, task, like)
    check_room(path, file.shape_IJK, 1)
    if like is not None and file.shape_IJK != like.shape_IJK:
        raise InputError(
            path,
            found=f"labels of {' x '.join(map(str, file.shape_IJK))} voxels",
            expected=f"the image's {' x '.join(map(str, like.shape_IJK))}",
            fix="pair the image with its own labels, on the same grid",
        )
    grid = like or grid_of(file)

    ignore_label = task.ignore_label if with_ignored else -1

    def to_label(_: StoredVolume, stored: np.ndarray) -> np.ndarray:
        values = stored_values.scaled(file, stored)
        labels, wrong = stored_values.as_labels(values, len(task.classes), ignore_label)
        if wrong.any():
            raise InputError(
                file.path, **stored_values.wrong_labels(np.unique(values[wrong]).tolist(), task.classes)
            )
        return labels

    return Volume(_read([file], [grid], np.dtype(np.uint8), to_label), grid.spacing_mm, grid)


def write_labels(path: str | os.PathLike[str], labels_DHW: np.ndarray, grid: Grid) -> None:
    """Writes labels as uint8 on their own grid: axis order, flips, affine and header of the input.

    A header that only tolerant programs read comes out as one that all read alike
    (`header_grid.sound_header`). The file is whole or absent; a name that ends in .gz is compressed. Header
    extensions are dropped.

    Args:
        path: ends in .nii or .nii.gz.
        labels_DHW: canonical, uint8, `grid.shape_DHW`.
        grid: of the image that was segmented.

    Raises:
        InputError: not a .nii or .nii.gz name.
        ValueError: wrong dtype or shape.
    """
    if labels_DHW.dtype != np.uint8 or labels_DHW.shape != grid.shape_DHW:
        found = f"{labels_DHW.dtype} {labels_DHW.shape}"
        raise ValueError(f"labels are {found}, the grid takes uint8 {grid.shape_DHW}")
    header = header_grid.sound_header(grid.header, path)
    if int(header["dim"][4]) > 1:  # Of an image of several channels.
        header.set_data_shape(grid.shape_IJK)
    header.set_data_dtype(np.uint8)
    write_stored(path, header, grid.from_canonical(labels_DHW))


def write_new(
    path: str | os.PathLike[str], array_DHW: np.ndarray, spacing_mm: Spacing, axcodes: str = "RAS"
) -> None:
    """Writes a canonical array as a new file whose axes run as `axcodes` says, in mm, centred on 0.

    Args:
        path: ends in .nii or .nii.gz.
        array_DHW: canonical; int16 or uint8.
        spacing_mm: (D, H, W).
        axcodes: where each file axis points, e.g. "LPS" or "SAR": one of R/L, A/P and S/I each.

    Raises:
        InputError: not a .nii or .nii.gz name.
        ValueError: codes that name no orientation.
    """
    if sorted(axcodes.translate(str.maketrans("LPI", "RAS"))) != ["A", "R", "S"]:
        raise ValueError(f"{axcodes!r} is no orientation; an example is 'LPS'")
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    order, flips = orientation(axcodes2ornt(tuple(axcodes)))
    for axis in range(3):  # canonical axis; in world coordinates D is z, H is y, W is x
        affine[2 - axis, order[axis]] = -spacing_mm[axis] if flips[axis] else spacing_mm[axis]
    header = nib.Nifti1Header()
    grid = Grid((0, 0, 0), affine, header, order, flips)
    array_IJK = grid.from_canonical(array_DHW)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(array_IJK.shape) - 1) / 2
    header.set_data_shape(array_IJK.shape)
    header.set_data_dtype(array_DHW.dtype)
    header.set_xyzt_units("mm")
    header.set_sform(affine, 1)
    header.set_qform(affine, 1)
    write_stored(path, header, array_IJK)


def write_stored(
    path: str | os.PathLike[str], header: Header, array_IJK: np.ndarray, slope: float = 1.0
) -> None:
    """Writes an array in its file order under a header, without extensions.

    The file is whole or absent; a name that ends in .gz is compressed. Equal arrays and headers give equal
    bytes.

    Args:
        path: ends in .nii or .nii.gz, in any case.
        header: its type of voxels is the file's; what it says of where voxels begin is set anew.
        array_IJK: of the header's shape; channels come last.
        slope: what readers multiply the stored values by.

    Raises:
        InputError: not a .nii or .nii.gz name.
    """
    path, header = Path(path), header.copy()
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise InputError(path, found="another ending", expected=".nii or .nii.gz", fix="rename the output")
    header["magic"] = type(header)()["magic"]
    header["vox_offset"] = int(header["sizeof_hdr"]) + 4
    header["scl_slope"], header["scl_inter"] = slope, 0
    header["cal_max"], header["cal_min"] = 0, 0
    with files.atomic_path(path) as temporary, temporary.open("wb") as raw:
        # No file name and no time inside gzip, for equal bytes.
        packed = path.name.lower().endswith(".gz")
        with gzip.GzipFile("", "wb", 4, raw, mtime=0) if packed else contextlib.nullcontext(raw) as stream:
            stream.write(header.binaryblock + bytes(4))
            for volume_IJK in np.moveaxis(array_IJK, 3, 0) if array_IJK.ndim == 4 else [array_IJK]:
                for slab_JI in volume_IJK.transpose(2, 1, 0):
                    stream.write(slab_JI.astype(header.get_data_dtype(), copy=False).tobytes())


def _read(
    files: Sequence[StoredVolume],
    grids: Sequence[Grid],
    dtype: np.dtype,
    convert: Callable[[StoredVolume, np.ndarray], np.ndarray],
) -> np.ndarray:
    """The canonical array, filled where each block of a file belongs: nothing is held twice."""
    count = sum(file.channels for file in files)
    array = np.empty((*grids[0].shape_DHW, *([count] if count > 1 else [])), dtype)
    volumes_DHW = iter(np.moveaxis(array, -1, 0) if count > 1 else array[None])
    for file, grid in zip(files, grids, strict=True):
        volumes_IJK = [grid.from_canonical(next(volumes_DHW)) for _ in range(file.channels)]
        for channel, place, stored in file.channel_blocks():
            volumes_IJK[channel][place] = convert(file, stored)
    return array
