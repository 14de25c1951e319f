"""A volume as it is stored, whatever its format: what readers and the doctor need to know of it."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

Header = nib.Nifti1Header | nib.Nifti2Header
Place = tuple[slice, slice, slice]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StoredVolume(abc.ABC):
    """A volume that was opened: its grid and the type of its voxels are known, none of them is read.

    Attributes:
        path: the file, or the folder of a DICOM series.
        header: a NIfTI header that says where the voxels lie. That of a NIfTI file is as it stands there,
            whatever its affine says; other formats get one of their own, in mm.
        shape_IJK: the three sides in the order of `header`.
        dtype: of the voxels as they are stored.
        slope, inter: stored value x slope + inter is the value meant (1 and 0 when unset).
        channels: values per voxel; each is a 3D volume, one after the other.
        series: UIDs of the DICOM series that it is or that it was made from; empty where none is known.
        marks: what was found odd beside the header, a sentence each.
    """

    path: Path
    header: Header
    shape_IJK: tuple[int, int, int]
    dtype: np.dtype[Any]
    slope: float = 1.0
    inter: float = 0.0
    channels: int = 1
    series: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape_IJK)

    def blocks(self) -> Iterator[tuple[Place, np.ndarray]]:
        """Yields the stored voxels of a volume of one channel, as `channel_blocks`.

        Raises:
            InputError: as `channel_blocks`.
        """
        for _, place, stored in self.channel_blocks():
            yield place, stored

    @abc.abstractmethod
    def channel_blocks(self) -> Iterator[tuple[int, Place, np.ndarray]]:
        """Yields channel, place and stored voxels, in blocks that together are every voxel once.

        Raises:
            InputError: voxels that are missing, damaged, or cannot be decoded.
        """
