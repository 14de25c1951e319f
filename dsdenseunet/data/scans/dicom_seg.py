"""DICOM segmentation objects as label volumes: bits for each segment and slice, or label maps.

A segmentation names its segments, says which series it was made from, and may hold only the slices in which
something was drawn. It is therefore read by names and places, and put on its image's grid where there is one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import pixel_array

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans.dicom_series import header_of
from dsdenseunet.data.scans.dicom_slices import read_dataset, require_decoder, slices_of
from dsdenseunet.data.scans.grid import SAME_GRID_VOXELS, Grid, grid_of
from dsdenseunet.data.scans.stored_volume import Place, StoredVolume

_WHOLE = (slice(None), slice(None), slice(None))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DicomSegmentation(StoredVolume):
    """A segmentation on the grid that its own frames span; voxels hold numbers of segments.

    Attributes:
        segments: the name of each segment, by its number.
        frames: (slice, segment) of each frame; a label map's frames have all segments, which is 0.
    """

    segments: Mapping[int, str]
    frames: tuple[tuple[int, int], ...]

    def channel_blocks(self) -> Iterator[tuple[int, Place, np.ndarray]]:
        """Yields all voxels at once.

        Raises:
            InputError: pixels that are missing or damaged, or a voxel in two segments.
        """
        dataset = read_dataset(self.path, pixels=True)
        array_IJK = np.zeros(self.shape_IJK, self.dtype, order="F")
        for number, (k, segment) in enumerate(self.frames):
            values_IJ = _frame(self.path, dataset, number).T
            plane_IJ = array_IJK[:, :, k]
            if not segment:
                plane_IJ[:] = values_IJ
                continue
            inside = values_IJ > 0
            if others := np.unique(plane_IJ[inside & (plane_IJ > 0)]).tolist():
                names = " and ".join(self.segments[one] for one in (others[0], segment))
                _refuse(
                    self.path,
                    f"voxels that lie in two segments: {names}",
                    "segments that do not overlap, as each voxel has one label",
                    "take the smaller one out of the larger, or convert it to labels in NIfTI",
                )
            plane_IJ[inside] = segment
        yield 0, _WHOLE, array_IJK


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SegmentationLabels(StoredVolume):
    """A segmentation with labels in place of its segments' numbers, on its own grid or its image's.

    Attributes:
        segmentation: where the voxels come from.
        labels: the label of each segment's number; 0 for background.
        turn: what turns the segmentation's axes on to those of this volume, as nibabel has it.
        first: where in this volume the segmentation, turned, begins.
    """

    segmentation: DicomSegmentation
    labels: NDArray[np.uint8]
    turn: NDArray[np.float64]
    first: tuple[int, int, int]

    def channel_blocks(self) -> Iterator[tuple[int, Place, np.ndarray]]:
        """As `DicomSegmentation.channel_blocks`."""
        ((_, _, numbers_IJK),) = self.segmentation.channel_blocks()
        labels = apply_orientation(self.labels[numbers_IJK], self.turn)
        if labels.shape != self.shape_IJK:
            whole = np.zeros(self.shape_IJK, np.uint8, order="F")
            whole[tuple(slice(one, one + side) for one, side in zip(self.first, labels.shape))] = labels
            labels = whole
        yield 0, _WHOLE, labels


def open_segmentation(path: Path) -> DicomSegmentation:
    """Opens a segmentation; no pixel is read.

    Raises:
        InputError: no binary segmentation and no label map; frames whose places make no grid; attributes that
            are missing.
    """
    header = read_dataset(path)
    require_decoder(path, header)
    kind = str(header.get("SegmentationType", ""))
    if kind not in ("BINARY", "LABELMAP"):
        _refuse(path, f"a segmentation of type {kind or 'unknown'}", "BINARY or LABELMAP", "export it as one")
    names = {
        int(item.get("SegmentNumber", 0)): str(item.get("SegmentLabel", ""))
        for item in header.get("SegmentSequence") or ()
    }
    # A label map may describe its background, too.
    segments = {number: name for number, name in names.items() if number}
    if not segments or max(segments) > np.iinfo(np.uint16).max:
        _refuse(path, "no segments", "one at least, with its number and its name", "export it again")
    numbers, affine, planes = _grid(path, header)
    drawn = [0] * len(numbers) if kind == "LABELMAP" else _segments_of_frames(path, header, segments)
    dtype = np.dtype(np.uint8 if max(segments) <= np.iinfo(np.uint8).max else np.uint16)
    shape = (int(header.Columns), int(header.Rows), planes)
    referenced = header.get("ReferencedSeriesSequence") or ()
    return DicomSegmentation(
        path=path,
        header=header_of(shape, affine, dtype),
        shape_IJK=shape,
        dtype=dtype,
        series=tuple(str(item.SeriesInstanceUID) for item in referenced if "SeriesInstanceUID" in item),
        segments=segments,
        frames=tuple(zip(numbers, drawn, strict=True)),
    )


def as_labels(
    segmentation: DicomSegmentation, classes: Sequence[str], like: Grid | None = None
) -> SegmentationLabels:
    """A segmentation's segments as labels of the classes that they are called by, whatever their numbers.

    Args:
        segmentation: as opened.
        classes: names by label; small and capital letters, spaces, - and _ make no difference.
        like: grid of the image that it belongs to, on which the labels are to lie.

    Raises:
        InputError: a segment that is called as no class is; a segmentation of another series; or one that
            does not lie on the image's grid.
    """
    known = {_plain(name): label for label, name in enumerate(classes) if label}
    unknown = [name for name in segmentation.segments.values() if _plain(name) not in known]
    if unknown:
        _refuse(
            segmentation.path,
            f"segments called {', '.join(map(repr, unknown))}",
            f"the task's classes: {', '.join(classes[1:])}",
            "rename or remove these segments, or give the task's classes their names",
        )
    labels = np.zeros(max(segmentation.segments) + 1, np.uint8)
    for number, name in segmentation.segments.items():
        labels[number] = known[_plain(name)]
    own = grid_of(segmentation)
    turn, first, target = io_orientation(np.eye(4)), (0, 0, 0), own
    if like is not None:
        turn, first, target = *_placed(segmentation, own, like), like
    header = target.header.copy()
    header.set_data_shape(target.shape_IJK)
    return SegmentationLabels(
        path=segmentation.path,
        header=header,
        shape_IJK=target.shape_IJK,
        dtype=labels.dtype,
        series=segmentation.series,
        segmentation=segmentation,
        labels=labels,
        turn=turn,
        first=first,
    )


def _placed(
    segmentation: DicomSegmentation, own: Grid, like: Grid
) -> tuple[NDArray[np.float64], tuple[int, int, int]]:
    """How a segmentation is turned on to its image's grid, and the voxel there with which it begins."""
    if segmentation.series and like.series and not set(segmentation.series) & set(like.series):
        _refuse(
            segmentation.path,
            f"a segmentation of the series {', '.join(segmentation.series)}",
            f"one of its image's series {', '.join(like.series)}",
            "pair each image with its own segmentation",
        )
    to_like = np.linalg.inv(like.affine) @ own.affine
    turn = io_orientation(to_like)
    placed = to_like @ inv_ornt_aff(turn, own.shape_IJK)
    sides = [own.shape_IJK[axis] for axis in np.argsort(turn[:, 0])]
    ends = np.array([[0, 0, 0], np.array(sides) - 1])
    there = ends @ placed[:3, :3].T + placed[:3, 3]
    first = np.rint(there[0]).astype(int)
    if np.abs(there - (first + ends)).max() > SAME_GRID_VOXELS:
        _refuse(
            segmentation.path,
            f"voxels that lie {np.abs(there - (first + ends)).max():.2g} voxels off the image's, at most",
            "a segmentation on its image's grid",
            "resample it on to that grid, nearest neighbour, or pair it with its own image",
        )
    if (first < 0).any() or (first + sides > like.shape_IJK).any():
        _refuse(
            segmentation.path,
            f"slices or pixels outside the image: from voxel {tuple(first.tolist())} on, of {tuple(sides)}",
            f"within {like.shape_IJK}",
            "pair each image with its own segmentation",
        )
    return turn, tuple(first.tolist())


def _grid(path: Path, header: Dataset) -> tuple[list[int], NDArray[np.float64], int]:
    """The slice of each frame, the affine to mm in NIfTI's axes, and how many slices the frames span."""
    frames = header.get("PerFrameFunctionalGroupsSequence") or ()
    # Bits are no pixels of a type that images have; a frame's place is all that is wanted here.
    header.BitsAllocated = 8
    placed = list(slices_of(path, header))
    if not placed or not frames:
        _refuse(path, "no frames that say where they lie", "a place for each", "export it again")
    one = placed[0]
    if any(not np.allclose(other.directions, one.directions, atol=1e-4) for other in placed):
        _refuse(path, "frames of different directions", "one volume", "export one volume")
    positions = np.array([frame.position for frame in placed])
    along = positions @ one.normal
    apart = np.diff(np.unique((along / 0.01).round())) * 0.01
    step = _step(header, apart)
    first = int(along.argmin())
    numbers = (along - along[first]) / step
    aside = positions - positions[first] - np.outer(along - along[first], one.normal)
    off = max(np.abs(numbers - np.rint(numbers)).max(), np.abs(aside).max() / step)
    if off > SAME_GRID_VOXELS:
        _refuse(
            path,
            f"frames that lie up to {off:.2g} of {step:.4g} mm off an even grid",
            "slices of one distance, one behind the other",
            "resample the segmentation to one distance, or store it as NIfTI",
        )
    affine = np.eye(4)
    affine[:3, :2] = one.directions * one.spacing_mm
    affine[:3, 2], affine[:3, 3] = one.normal * step, positions[first]
    slices = np.rint(numbers).astype(int)
    return slices.tolist(), np.diag((-1.0, -1.0, 1.0, 1.0)) @ affine, int(slices.max()) + 1


def _step(header: Dataset, apart: NDArray[np.float64]) -> float:
    """The distance of slices: as stated, else the least between frames, else a slice's thickness."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    measures = (shared.get("PixelMeasuresSequence") or [Dataset()])[0]
    between = measures.get("SpacingBetweenSlices"), apart.min(initial=np.inf), measures.get("SliceThickness")
    lengths = [float(value) for value in between if value]
    return next((length for length in lengths if 0 < length < np.inf), 1.0)


def _segments_of_frames(path: Path, header: Dataset, segments: Mapping[int, str]) -> list[int]:
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    numbers = []
    for own in header.PerFrameFunctionalGroupsSequence:
        found = own.get("SegmentIdentificationSequence") or shared.get("SegmentIdentificationSequence")
        number = int(found[0].get("ReferencedSegmentNumber") or 0) if found else 0
        if number not in segments:
            _refuse(path, f"a frame of segment {number}", "a segment that it describes", "export it again")
        numbers.append(number)
    return numbers


def _frame(path: Path, dataset: Dataset, number: int) -> NDArray[Any]:
    """The pixels of one frame, (row, column)."""
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    try:
        syntax = dataset.file_meta.TransferSyntaxUID
        if dataset.BitsAllocated == 1 and not (syntax.is_compressed and not syntax.is_deflated):
            # Frames follow each other bit by bit; pydicom takes out single ones where they begin with a byte.
            start = number * rows * columns
            stored = np.frombuffer(dataset.PixelData, np.uint8)[
                start // 8 : (start + rows * columns + 7) // 8
            ]
            bits = np.unpackbits(stored, bitorder="little")[start % 8 : start % 8 + rows * columns]
            return bits.reshape(rows, columns)
        return np.asarray(pixel_array(dataset, index=number))
    except Exception as error:  # whatever a decoder makes of damaged pixels
        raise InputError(
            path,
            found=f"frame {number + 1} cannot be read: {' '.join(str(error).split())}",
            expected=f"{rows} x {columns} pixels for each frame",
            fix="copy or export the file again",
        ) from error


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _refuse(path: Path, found: str, expected: str, fix: str) -> NoReturn:
    raise InputError(path, found=found, expected=expected, fix=fix)
