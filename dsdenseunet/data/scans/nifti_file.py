"""NIfTI files as bytes: header and voxels are checked against bounds before memory is allocated.

A header is not believed until the file's size (or, for gzip, the most that its compressed bytes can
hold) agrees with it, and voxels arrive in blocks, so that neither absurd dimensions nor a
decompression bomb costs memory. The number of voxels is not limited here; readers compare the memory that
they need with the machine's (`memory.check_room`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import itertools
import math
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import nibabel as nib
import numpy as np

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans.stored_volume import Header, Place, StoredVolume

# Bytes that may lie between header and voxels (extensions), and after the voxels (padding).
MAX_EXTENSION_BYTES = 2**24
MAX_TRAILING_BYTES = 2**20
# Deflate cannot pack more than 1,032 bytes into one.
MAX_GZIP_RATIO = 1032
BLOCK_BYTES = 2**22
GZIP_MAGIC = b"\x1f\x8b"

_NUMERIC_CODES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
_NUMERIC_CODES |= {1024: "i8", 1280: "u8"}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class NiftiFile(StoredVolume):
    """A header that was checked against the file that holds it.

    Attributes:
        offset: bytes from the start of the unpacked file to the first voxel.
    """

    offset: int

    def channel_blocks(self) -> Iterator[tuple[int, Place, np.ndarray]]:
        """Yields channel, place and stored voxels in file order, in blocks of about 4 MiB at most.

        A block is whole planes along K, or whole rows of one plane where a plane is larger.

        Raises:
            InputError: the file ends early, is damaged, or goes on far beyond its voxels.
        """
        row = self.shape_IJK[0] * self.dtype.itemsize
        _, rows, planes = self.shape_IJK
        most_rows = min(rows, max(1, BLOCK_BYTES // row))
        most_planes = max(1, BLOCK_BYTES // (row * rows))
        with _open(self.path) as stream:
            _read_exactly(stream, self.offset, self.path)
            for channel, k, j in itertools.product(
                range(self.channels), range(0, planes, most_planes), range(0, rows, most_rows)
            ):
                place = (
                    slice(None),
                    slice(j, min(j + most_rows, rows)),
                    slice(k, min(k + most_planes, planes)),
                )
                sides = self.shape_IJK[0], place[1].stop - j, place[2].stop - k
                data = _read_exactly(stream, math.prod(sides) * self.dtype.itemsize, self.path)
                yield channel, place, np.frombuffer(data, self.dtype).reshape(sides, order="F")
            # Reading to the end also makes gzip compare its checksum.
            if len(stream.read(MAX_TRAILING_BYTES + 1)) > MAX_TRAILING_BYTES:
                raise InputError(
                    self.path,
                    found="more data than the header declares",
                    expected=f"{self.voxels} voxels of {self.dtype}",
                    fix="export the volume again; its header and voxels disagree",
                )


def read_header(path: str | os.PathLike[str], channels: int | None = 1) -> NiftiFile:
    """Reads and checks the header of a single-file NIfTI-1 or NIfTI-2, gzip-compressed or not.

    Args:
        path: the file.
        channels: how many there must be, along the fourth axis (None: however many there are).

    Raises:
        InputError: no such file, no NIfTI, no 3D volume of numbers, another number of channels, or
            dimensions that the file's size cannot hold.
    """
    path = Path(path)
    with contextlib.suppress(OSError):  # What cannot be inspected cannot be opened, which says why.
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # Opening a pipe would wait for ever.
            found = "a folder" if stat.S_ISDIR(mode) else "neither a file nor a folder"
            raise InputError(path, found=found, expected="a NIfTI file", fix="check the path")
    with _open(path) as stream:
        start = stream.read(4)
        kinds: dict[bytes, tuple[type[Header], str]] = {}
        for endianness in "<>":
            kinds[struct.pack(endianness + "i", 348)] = (nib.Nifti1Header, endianness)
            kinds[struct.pack(endianness + "i", 540)] = (nib.Nifti2Header, endianness)
        if start not in kinds:
            raise _not_nifti(path, f"the first bytes are {start!r}")
        kind, endianness = kinds[start]
        size = struct.unpack(endianness + "i", start)[0]
        header = kind(start + _read_exactly(stream, size - 4, path), endianness=endianness, check=False)
    magic = bytes(header["magic"].tobytes())[:3]
    if magic not in (b"n+1", b"n+2"):
        raise _not_nifti(path, f"a header with magic {magic!r}")
    dtype_code = int(header["datatype"])
    if dtype_code not in _NUMERIC_CODES:
        raise InputError(
            path,
            found=f"voxels of NIfTI datatype {dtype_code}",
            expected="integers or float32/float64",
            fix="convert the volume to int16",
        )
    dtype = np.dtype(endianness + _NUMERIC_CODES[dtype_code])
    slope, inter = _scaling(header, path)
    shape_IJK, there = _shape(header, path, channels)
    offset = _offset(header, size, path)
    nifti = NiftiFile(
        path=path,
        header=header,
        shape_IJK=shape_IJK,
        dtype=dtype,
        slope=slope,
        inter=inter,
        offset=offset,
        channels=there,
    )
    _check_size(nifti)
    return nifti


def _shape(header: Header, path: Path, channels: int | None) -> tuple[tuple[int, int, int], int]:
    """The three sides, and the number of channels."""
    dims = [int(side) for side in header["dim"]]
    count, sides = dims[0], dims[1:]
    there = sides[3] if 4 <= count <= 7 else 1
    whole = 3 <= count <= 7 and min(sides[:3]) >= 1 and there >= 1 and all(s == 1 for s in sides[4:count])
    if not whole or channels not in (None, there):
        found = f"dimensions {' x '.join(map(str, sides[: max(0, min(count, 7))])) or 'none'}"
        if channels in (None, 1):
            raise InputError(path, found=found, expected="one 3D volume", fix="export a single 3D volume")
        raise InputError(
            path,
            found=found,
            expected=f"a 4D volume of {channels} channels, as the task has",
            fix="join the channels along the fourth axis, or end the names of their files in _0000, _0001, "
            "...; or give the task those that are there",
        )
    return (sides[0], sides[1], sides[2]), there


def _scaling(header: Header, path: Path) -> tuple[float, float]:
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):  # The standard: no scaling.
        return 1.0, 0.0
    if not math.isfinite(inter):
        raise InputError(
            path, found=f"scl_inter {inter}", expected="a finite number", fix="repair the header's scl_inter"
        )
    return slope, inter


def _offset(header: Header, header_size: int, path: Path) -> int:
    offset = float(header["vox_offset"])
    least = header_size + 4
    if offset == 0:
        return least
    if not (least <= offset <= least + MAX_EXTENSION_BYTES and offset == int(offset)):
        raise InputError(
            path,
            found=f"voxels that start at byte {offset:g}",
            expected=f"a whole number from {least} to {least + MAX_EXTENSION_BYTES}",
            fix="repair the header's vox_offset",
        )
    return int(offset)


def _check_size(nifti: NiftiFile) -> None:
    """Refuses a header whose voxels cannot be in a file of this size."""
    with _reading(nifti.path):
        size = nifti.path.stat().st_size
        with nifti.path.open("rb") as stream:
            packed = stream.read(2) == GZIP_MAGIC
    needed = nifti.offset + nifti.voxels * nifti.channels * nifti.dtype.itemsize
    if size * (MAX_GZIP_RATIO if packed else 1) < needed:
        voxels = f"{' x '.join(map(str, nifti.shape_IJK))} voxels of {nifti.dtype}"
        voxels += f", {nifti.channels} channels" if nifti.channels > 1 else ""
        raise InputError(
            nifti.path,
            found=f"{size} bytes{' of gzip' if packed else ''}",
            expected=f"{needed} bytes{' once unpacked' if packed else ''}, for {voxels}",
            fix="the file is truncated or its header is wrong: copy or export it again",
        )


@contextlib.contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file by its content, gzip or plain; what goes wrong inside becomes an `InputError`."""
    with _reading(path), path.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        if packed:
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield unpacked  # type: ignore[misc]  # GzipFile is a binary stream in all but name.
        else:
            yield raw


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what a disk or damaged gzip data raise into an `InputError`."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            path,
            found=f"damaged or truncated gzip data: {error}",
            expected="a whole .nii.gz",
            fix="copy or download the file again (gzip -t shows whether it is whole)",
        ) from error
    except FileNotFoundError as error:
        raise InputError(path, found="no such file", expected="a NIfTI file", fix="check the path") from error
    except OSError as error:
        raise InputError(
            path, found=f"cannot be read: {error}", expected="a readable file", fix="check disk and rights"
        ) from error


def _read_exactly(stream: IO[bytes], count: int, path: Path) -> bytes:
    data = stream.read(count)
    while len(data) < count:
        more = stream.read(count - len(data))
        if not more:
            raise InputError(
                path,
                found="the file ends early",
                expected=f"{count - len(data)} bytes more at least",
                fix="the file is truncated: copy or export it again",
            )
        data += more
    return data


def _not_nifti(path: Path, found: str) -> InputError:
    return InputError(
        path, found=found, expected="a single-file NIfTI (.nii or .nii.gz)", fix="convert the volume to NIfTI"
    )
