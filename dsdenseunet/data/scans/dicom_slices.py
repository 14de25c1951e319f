"""The headers of DICOM images as slices: where each lies, its rescaling, and in which file its pixels are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.config import disable_value_validation
from pydicom.pixels import get_decoder

from dsdenseunet.core.errors import InputError

_TAGS = [
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "Modality",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "BitsAllocated",
    "PixelRepresentation",
    "SamplesPerPixel",
    "RescaleSlope",
    "RescaleIntercept",
    "NumberOfFrames",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]
# Where a file of many frames keeps what a file of one image has at its top.
_GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}
# By which images at one place can differ.
DISTINGUISHING = (
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "EchoTime",
    "DiffusionBValue",
    "AcquisitionTime",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Slice:
    """One image.

    Attributes:
        path: its file.
        frame: its number in a file of many, from 0; None in a file of its own.
        uid: of the image; frames of one file share it.
        position: of the first voxel's centre, mm; DICOM's axes, which run to the left, the back and the head.
        directions: (3, 2) unit vectors: along a row (the column index grows), and along a column.
        spacing_mm: between columns, and between rows.
        shape: columns, rows.
        dtype: of the stored values.
        slope, inter: stored value x slope + inter is the value meant.
        told: what may tell images at one place apart, by attribute.
    """

    path: Path
    frame: int | None
    uid: str
    position: NDArray[np.float64]
    directions: NDArray[np.float64]
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    slope: float
    inter: float
    told: dict[str, str]

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector at right angles to the image; rows, columns and it are right-handed."""
        return np.cross(self.directions[:, 0], self.directions[:, 1])

    def __str__(self) -> str:
        frame = "" if self.frame is None else f", frame {self.frame + 1}"
        return f"{self.path.name}{frame}"


def read_dataset(path: Path, *, pixels: bool = False, tags: Sequence[str] | None = None) -> Dataset:
    """A DICOM file's attributes.

    Args:
        path: the file.
        pixels: whether its pixels are read, too.
        tags: only these, by keyword; None: all.

    Raises:
        InputError: it cannot be read, or is damaged.
    """
    try:
        # Values that break a rule of form, as many scanners write, say what they mean all the same.
        with disable_value_validation():
            return dcmread(path, stop_before_pixels=not pixels, specific_tags=list(tags) if tags else None)
    except Exception as error:  # pydicom raises whatever a damaged file makes Python raise
        raise InputError(
            path,
            found=f"cannot be read as DICOM: {' '.join(str(error).split()) or type(error).__name__}",
            expected="a whole DICOM file",
            fix="copy or export the file again",
        ) from error


def read_headers(paths: Sequence[Path]) -> list[Dataset]:
    """What is needed of each file's header.

    Raises:
        InputError: as `read_dataset`, or pixels in a compression that nothing here can decode.
    """
    headers = [read_dataset(path, tags=[*_TAGS, *DISTINGUISHING]) for path in paths]
    checked = set()
    for path, header in zip(paths, headers, strict=True):
        syntax = header.file_meta.get("TransferSyntaxUID")
        if syntax not in checked:
            checked.add(syntax)
            require_decoder(path, header)
    return headers


def require_decoder(path: Path, header: Dataset) -> None:
    """Refuses a file whose pixels are compressed in a way that no installed package can decode.

    Raises:
        InputError: names the compression.
    """
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_compressed or syntax.is_deflated:
        return
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise InputError(
            path,
            found=f"pixels compressed as {syntax.name}, for which no decoder is installed",
            expected="pixels that are not compressed, or a decoder for them",
            fix="pip install --editable '.[dicom]', or decompress the files (gdcmconv --raw IN OUT)",
        )


def slices_of(path: Path, header: Dataset) -> Iterator[Slice]:
    """The slices of a file: one, or one for each of its frames.

    Raises:
        InputError: an attribute that places them is missing or has no such value, or colours.
    """
    if int(header.get("SamplesPerPixel", 1)) != 1:
        raise InputError(path, found="a colour image", expected="one value a pixel", fix="leave it out")
    kinds = {8: ("u1", "i1"), 16: ("u2", "i2"), 32: ("u4", "i4")}
    bits = header.get("BitsAllocated")
    if bits not in kinds:
        raise _missing(path, f"BitsAllocated {bits}", "8, 16 or 32")
    dtype = np.dtype(kinds[bits][int(bool(header.get("PixelRepresentation")))])
    columns, rows = (int(header.get(name) or 0) for name in ("Columns", "Rows"))
    if not columns or not rows:
        raise _missing(path, "no rows or no columns", "an image")
    frames = header.get("PerFrameFunctionalGroupsSequence")
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    if frames is not None and len(frames) != int(header.get("NumberOfFrames") or 1):
        raise _missing(
            path, f"{len(frames)} places for {header.get('NumberOfFrames')} frames", "one for each"
        )
    for number, own in enumerate(frames if frames is not None else [None]):
        values = header if own is None else grouped(own, shared)
        slope, inter = _rescaling(path, values)
        along_row, along_column = np.split(_numbers(path, values, "ImageOrientationPatient", 6), 2)
        between_rows, between_columns = _numbers(path, values, "PixelSpacing", 2)
        if not (between_rows > 0 and between_columns > 0):
            raise _missing(path, f"PixelSpacing {between_rows:g}, {between_columns:g}", "two lengths in mm")
        directions = np.stack([along_row, along_column], axis=1)
        if not np.allclose(directions.T @ directions, np.eye(2), atol=1e-2):
            raise _missing(path, "rows and columns that are not at right angles", "two unit vectors")
        yield Slice(
            path=path,
            frame=None if own is None else number,
            uid=str(header.get("SOPInstanceUID", "")),
            position=_numbers(path, values, "ImagePositionPatient", 3),
            directions=directions / np.linalg.norm(directions, axis=0),
            spacing_mm=(float(between_columns), float(between_rows)),
            shape=(columns, rows),
            dtype=dtype,
            slope=slope,
            inter=inter,
            told={name: str(header[name].value) for name in DISTINGUISHING if name in header},
        )


def grouped(own: Dataset, shared: Dataset) -> dict[str, Any]:
    """What a frame's own functional groups, or those that all frames share, say of its place and values."""
    found = {}
    for name, group in _GROUPS.items():
        sequence = own.get(group) or shared.get(group)
        if sequence and name in sequence[0]:
            found[name] = sequence[0].get(name)
    return found


def _rescaling(path: Path, values: Any) -> tuple[float, float]:
    found = [values.get("RescaleSlope"), values.get("RescaleIntercept")]
    try:
        slope, inter = (default if value is None else float(value) for value, default in zip(found, (1, 0)))
        if np.isfinite([slope, inter]).all() and slope != 0:
            return slope, inter
    except (TypeError, ValueError):
        pass
    raise _missing(path, f"RescaleSlope {found[0]}, RescaleIntercept {found[1]}", "finite numbers")


def _numbers(path: Path, values: Any, name: str, count: int) -> NDArray[np.float64]:
    """The numbers of an attribute."""
    found = values.get(name)
    try:
        numbers = np.array([float(value) for value in found or ()])
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if len(numbers) != count or not np.isfinite(numbers).all():
        said = f"{name} {found}" if found else f"no {name}"
        raise _missing(path, said, f"{count} numbers that place the image in the patient")
    return numbers


def _missing(path: Path, found: str, expected: str) -> InputError:
    return InputError(path, found=found, expected=expected, fix="export the series again, as original images")
