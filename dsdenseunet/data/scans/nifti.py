"""NIfTI volumes in one canonical form, and label volumes back on the grid that they came from.

Canonical form, of every array in this project: axes (D, H, W), where the index grows towards the
patient's head (D: inferior to superior), front (H: posterior to anterior) and right side (W: left to
right): "RAS" orientation, slowest axis first. Spacing is in mm and in the same order. This module is
the only one that knows of axis orders and flips; `header_grid` says what affine a header means.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.memory import check_room
from dsdenseunet.data.scans import header_grid, stored_values
from dsdenseunet.data.scans.nifti_file import Header, NiftiFile, read_header

Spacing = tuple[float, float, float]

_INT16 = np.iinfo(np.int16)


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """Where a canonical (D, H, W) array lies in the file it was read from.

    Attributes:
        shape_IJK: sides in the file's own order.
        affine: (4, 4), voxel (i, j, k) to mm, as `header_grid.place` reads it.
        header: the file's header, as read.
        axis_order: for each canonical axis D, H, W the file's axis that it is.
        flips: for each canonical axis, whether its index runs against the file's.
        marks: what was read under an assumption, a sentence each; empty for a sound file. Every command
            shows them beside the case.
    """

    shape_IJK: tuple[int, int, int]
    affine: np.ndarray
    header: Header
    axis_order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    marks: tuple[str, ...] = ()

    @property
    def shape_DHW(self) -> tuple[int, int, int]:  # noqa: N802
        """Sides in canonical order."""
        d, h, w = (self.shape_IJK[axis] for axis in self.axis_order)
        return d, h, w

    @property
    def spacing_mm(self) -> Spacing:
        """Voxel sides in canonical order."""
        sides = np.linalg.norm(self.affine[:3, :3], axis=0)
        d, h, w = (float(sides[axis]) for axis in self.axis_order)
        return d, h, w

    def to_canonical(self, array_IJK: np.ndarray) -> np.ndarray:
        """The same voxels as a canonical (D, H, W) view."""
        turned = array_IJK.transpose(self.axis_order)
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def from_canonical(self, array_DHW: np.ndarray) -> np.ndarray:
        """Inverse of `to_canonical`."""
        flipped = array_DHW[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]
        return flipped.transpose(np.argsort(self.axis_order))


@dataclasses.dataclass(frozen=True, eq=False)
class Volume:
    """A volume in canonical form.

    Attributes:
        array_DHW: int16 Hounsfield units, or uint8 labels; contiguous.
        spacing_mm: voxel sides in the same order.
        grid: the way back to the file.
    """

    array_DHW: np.ndarray
    spacing_mm: Spacing
    grid: Grid


def read_grid(path: str | os.PathLike[str]) -> Grid:
    """Reads only the grid of a volume: shape, affine, orientation.

    Raises:
        InputError: as `nifti_file.read_header`, or a header from which no voxel size can be read.
    """
    return _grid(read_header(path))


def read_image(path: str | os.PathLike[str], *, bytes_per_voxel: int = 3) -> Volume:
    """Reads a CT as int16 Hounsfield units: the header's slope applied, rounded, saturated.

    Takes two bytes a voxel, whatever the stored type and the orientation. Values beyond 16 bits, as metal
    has, are cut off under a mark of the volume's grid; an image whose values cannot be Hounsfield units is
    refused (`stored_values.HounsfieldRange`).

    Args:
        path: the file.
        bytes_per_voxel: what the caller will hold at once for each voxel, this image included; compared
            with the machine's memory before any is taken. The default is an image and its labels.

    Raises:
        InputError: no NIfTI, truncated or damaged, not 3D, too large for this machine, NaN or infinite
            voxels, values that are no Hounsfield units, or a header from which no voxel size can be read.
    """
    nifti = read_header(path)
    check_room(path, nifti.shape_IJK, bytes_per_voxel)
    grid = _grid(nifti)
    seen = stored_values.HounsfieldRange()

    def to_hu(stored: np.ndarray) -> np.ndarray:
        values = stored_values.scaled(nifti, stored)
        kind, size = values.dtype.kind, values.dtype.itemsize
        if size == 1 or (kind == "i" and size == 2):
            return values
        if not np.isfinite(values).all():
            raise InputError(
                nifti.path,
                found="NaN or infinite voxels",
                expected="finite Hounsfield units",
                fix="repair the volume, e.g. set such voxels to -1024, or leave the case out",
            )
        seen.add(values)
        low = 0 if kind == "u" else _INT16.min
        return np.clip(values if kind in "iu" else np.rint(values), low, _INT16.max)

    array_DHW = _read(nifti, np.dtype(np.int16), to_hu, grid)
    if wrong := seen.wrong():
        raise InputError(nifti.path, **wrong)
    if mark := seen.mark():
        grid = dataclasses.replace(grid, marks=(*grid.marks, mark))
    return Volume(array_DHW, grid.spacing_mm, grid)


def read_labels(path: str | os.PathLike[str], num_classes: int = 3, like: Grid | None = None) -> Volume:
    """Reads a label volume as uint8; values within 0.001 of a whole number are that number.

    Args:
        path: the file.
        num_classes: labels run from 0 to `num_classes` - 1.
        like: grid of the image that the labels belong to. LiTS pairs image and labels voxel by voxel
            and some of its label files have a nonsense affine: with `like`, the labels are turned as
            the image is, their own affine is ignored, and the shape must be the image's.

    Raises:
        InputError: as `read_image`; also other labels, or a shape that is not `like`'s.
    """
    nifti = read_header(path)
    check_room(path, nifti.shape_IJK, 1)
    if like is not None and nifti.shape_IJK != like.shape_IJK:
        raise InputError(
            path,
            found=f"labels of {' x '.join(map(str, nifti.shape_IJK))} voxels",
            expected=f"the image's {' x '.join(map(str, like.shape_IJK))}",
            fix="pair the image with its own labels, on the same grid",
        )
    grid = like or _grid(nifti)

    def to_label(stored: np.ndarray) -> np.ndarray:
        values = stored_values.scaled(nifti, stored)
        labels, wrong = stored_values.as_labels(values, num_classes)
        if wrong.any():
            raise InputError(
                nifti.path, **stored_values.wrong_labels(np.unique(values[wrong]).tolist(), num_classes)
            )
        return labels

    return Volume(_read(nifti, np.dtype(np.uint8), to_label, grid), grid.spacing_mm, grid)


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
    order, flips = _orientation(axcodes2ornt(tuple(axcodes)))
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


def write_stored(path: str | os.PathLike[str], header: Header, array_IJK: np.ndarray) -> None:
    """Writes an array in its file order under a header, unscaled and without extensions.

    The file is whole or absent; a name that ends in .gz is compressed. Equal arrays and headers give equal
    bytes.

    Args:
        path: ends in .nii or .nii.gz, in any case.
        header: its type of voxels is the file's; what it says of where voxels begin is set anew.
        array_IJK: of the header's shape.

    Raises:
        InputError: not a .nii or .nii.gz name.
    """
    path, header = Path(path), header.copy()
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise InputError(path, found="another ending", expected=".nii or .nii.gz", fix="rename the output")
    header["magic"] = type(header)()["magic"]
    header["vox_offset"] = int(header["sizeof_hdr"]) + 4
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["cal_max"], header["cal_min"] = 0, 0
    with files.atomic_path(path) as temporary, temporary.open("wb") as raw:
        # No file name and no time inside gzip, for equal bytes.
        packed = path.name.lower().endswith(".gz")
        with gzip.GzipFile("", "wb", 4, raw, mtime=0) if packed else contextlib.nullcontext(raw) as stream:
            stream.write(header.binaryblock + bytes(4))
            for slab_JI in array_IJK.transpose(2, 1, 0):
                stream.write(slab_JI.astype(header.get_data_dtype(), copy=False).tobytes())


def for_display(slice_HW: np.ndarray) -> np.ndarray:
    """An axial slice (H, W, ...) as a radiologist sees it: front up, the patient's right on the left."""
    return slice_HW[::-1, ::-1]


def _read(
    nifti: NiftiFile, dtype: np.dtype, convert: Callable[[np.ndarray], np.ndarray], grid: Grid
) -> np.ndarray:
    """The canonical array, filled where each block of the file belongs: nothing is held twice."""
    array_DHW = np.empty(grid.shape_DHW, dtype)
    array_IJK = grid.from_canonical(array_DHW)
    for place, stored in nifti.blocks():
        array_IJK[place] = convert(stored)
    return array_DHW


def _grid(nifti: NiftiFile) -> Grid:
    placement = header_grid.place(nifti.header, nifti.path)
    order, flips = _orientation(io_orientation(placement.affine))
    marks = tuple(note.text for note in placement.notes)
    return Grid(nifti.shape_IJK, placement.affine, nifti.header, order, flips, marks)


def _orientation(ornt: np.ndarray) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Axis order and flips from nibabel's table: a row a file axis, (world axis, direction)."""
    axes = {2 - int(world): (axis, bool(sign < 0)) for axis, (world, sign) in enumerate(ornt)}
    return (axes[0][0], axes[1][0], axes[2][0]), (axes[0][1], axes[1][1], axes[2][1])
