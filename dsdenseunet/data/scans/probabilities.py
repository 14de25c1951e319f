"""Class probabilities as a file of their own, beside the labels that they are the reason for."""

from __future__ import annotations

import os

import numpy as np

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.memory import check_room
from dsdenseunet.data.scans import header_grid, nifti
from dsdenseunet.data.scans.grid import Grid, grid_of
from dsdenseunet.data.scans.nifti_file import read_header

ONE = np.iinfo(np.uint16).max


def read_probabilities(path: str | os.PathLike[str], classes: int) -> tuple[np.ndarray, Grid]:
    """What `write_probabilities` was given: canonical (C, D, H, W), uint16, 65535 for a probability of 1.

    Args:
        path: the file.
        classes: how many the task has.

    Raises:
        InputError: damaged, of another number of classes, or not stored in this form.
    """
    file = read_header(path, channels=classes)
    check_room(path, file.shape_IJK, 2 * classes)
    if file.dtype.newbyteorder("=") != np.uint16 or file.inter or abs(file.slope * ONE - 1) > 1e-4:
        raise InputError(
            path,
            found=f"{file.dtype} with slope {file.slope:g}",
            expected="probabilities as predict writes them: uint16 with slope 1 / 65535",
            fix="predict again with --save_probabilities, or move the file elsewhere",
        )
    grid = grid_of(file)
    stored_CDHW = np.empty((classes, *grid.shape_DHW), np.uint16)
    for channel, place, stored in file.channel_blocks():
        grid.from_canonical(stored_CDHW[channel])[place] = stored
    return stored_CDHW, grid


def write_probabilities(path: str | os.PathLike[str], stored_CDHW: np.ndarray, grid: Grid) -> None:
    """Writes class probabilities as a 4D NIfTI on the scan's grid, a volume for each class, in their order.

    A viewer shows it over the scan, and every reader gets numbers from 0 to 1. nnU-Net writes an .npz, which
    has no grid: whoever opens it has to know how the array is turned. NIfTI has no float16. Voxels are
    therefore uint16 with the header's slope 1 / 65535: as small, and more exact (steps of 1.5e-5
    everywhere, of float16 4.9e-4 between a half and 1). The file is whole or absent.

    Args:
        path: ends in .nii or .nii.gz.
        stored_CDHW: canonical, uint16, 65535 for a probability of 1.
        grid: of the image that was segmented.

    Raises:
        InputError: not a .nii or .nii.gz name.
        ValueError: wrong dtype or shape.
    """
    if stored_CDHW.dtype != np.uint16 or stored_CDHW.shape[1:] != grid.shape_DHW:
        found = f"{stored_CDHW.dtype} {stored_CDHW.shape}"
        raise ValueError(f"probabilities are {found}, the grid takes uint16 (C, {grid.shape_DHW})")
    header = header_grid.sound_header(grid.header, path)
    header.set_data_shape((*grid.shape_IJK, len(stored_CDHW)))
    header.set_data_dtype(np.uint16)
    stored_IJKC = grid.from_canonical(np.moveaxis(stored_CDHW, 0, -1))
    nifti.write_stored(path, header, stored_IJKC, slope=1 / ONE)
