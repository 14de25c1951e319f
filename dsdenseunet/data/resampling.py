"""Images and labels on a grid of another spacing.

Both grids cover the same box of space, edge to edge, as nnU-Net's and those of SciPy's `grid_mode` do. A grid
therefore follows from its shape alone, and the way back is the same function with the shapes exchanged.

Values are interpolated linearly, one axis after the other. A linear kernel never leaves the range of the
values that it joins. A cubic one overshoots where neighbours differ much, as thick slices do, which is why
nnU-Net treats those separately; here every axis has the same rule.

Where the new voxels are larger, the kernel of an image is as wide as they are: each is the weighted mean of
all voxels that it replaces, so that noise is averaged in place of being sampled. Labels and probabilities
have no such noise, and a wide kernel wears away what is small: of a ball of 3 mm radius, 0.62 to 0.86 of the
volume were left at 1.5 mm, against 0.94 to 0.99. Theirs stays as narrow as it is between equal grids.

Sums are taken in a fixed order by plain float32 products: the same scan gives the same bytes on every
machine. Beside source and result only a few slices are held.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Taps(NamedTuple):
    """Which voxels along one axis make up each new one.

    Attributes:
        source: (new size, taps) int32, within the axis.
        weight: (new size, taps) float32; each row sums to 1.
    """

    source: NDArray[np.int32]
    weight: NDArray[np.float32]


def shape_at(
    shape: Sequence[int], spacing_mm: Sequence[float], wanted_mm: Sequence[float]
) -> tuple[int, int, int]:
    """The shape whose spacing is nearest to the wanted one; the same shape where none is wanted.

    Args:
        shape: (D, H, W).
        spacing_mm: its voxels' sides, in the same order.
        wanted_mm: as `Task.spacing_mm`.
    """
    if wanted_mm:
        sides = zip(shape, spacing_mm, wanted_mm, strict=True)
        shape = [max(round(size * mm / wanted), 1) for size, mm, wanted in sides]
    depth, height, width = shape
    return depth, height, width


def spacing_at(
    shape: Sequence[int], spacing_mm: Sequence[float], new_shape: Sequence[int]
) -> tuple[float, float, float]:
    """The spacing that a volume really has in a new shape: its box does not change."""
    sides = zip(shape, spacing_mm, new_shape, strict=True)
    depth, height, width = (mm if size == new else size * mm / new for size, mm, new in sides)
    return depth, height, width


def taps(size: int, new_size: int, *, averaging: bool = False) -> Taps:
    """The linear kernel from an axis of `size` voxels to one of `new_size` over the same length.

    What would lie outside the axis takes no part. Between equal sizes each voxel is itself.

    Args:
        size: voxels before.
        new_size: voxels after.
        averaging: whether larger voxels are means of all that they replace; otherwise each is interpolated
            between the two at its centre.
    """
    if size == new_size:
        return Taps(np.arange(size, dtype=np.int32)[:, None], np.ones((size, 1), np.float32))
    step = size / new_size
    reach = max(step, 1.0) if averaging else 1.0
    centre = (np.arange(new_size)[:, None] + 0.5) * step - 0.5
    index = np.floor(centre - reach).astype(np.int64) + 1 + np.arange(math.ceil(2 * reach))
    inside = (index >= 0) & (index < size)
    weight = np.where(inside, np.maximum(1 - np.abs(index - centre) / reach, 0), 0)
    weight /= weight.sum(axis=1, keepdims=True)
    return Taps(index.clip(0, size - 1).astype(np.int32), weight.astype(np.float32))


def along(array: Any, kernel: Taps, axis: int, xp: Any = np) -> Any:
    """A float32 array with one axis resampled; `xp` is NumPy or JAX's."""
    source, weight = kernel
    shape = tuple(-1 if other == axis else 1 for other in range(array.ndim))
    total: Any = None
    for tap in range(weight.shape[1]):
        part = xp.take(array, source[:, tap], axis=axis, mode="clip") * weight[:, tap].reshape(shape)
        total = part if total is None else total + part
    return total


def resample_image(image: NDArray[Any], shape: Sequence[int], *, whole: bool) -> NDArray[Any]:
    """An image in another shape; the very same array where its shape is that already.

    Args:
        image: (D, H, W), or (D, H, W, channel).
        shape: the new (D, H, W).
        whole: whether values are rounded to whole numbers of the image's type, as Hounsfield units are;
            otherwise they become float32.
    """
    if image.shape[:3] == tuple(shape):
        return image
    out = np.empty((*shape, *image.shape[3:]), image.dtype if whole else np.float32)
    slices = Slices(image, shape, whole=whole)
    for number in range(len(out)):
        out[number] = slices.slice(number)
    return out


def resample_labels(labels_DHW: NDArray[np.uint8], shape: Sequence[int]) -> NDArray[np.uint8]:
    """Labels in another shape; the very same array where its shape is that already.

    A voxel gets the label with the largest share, interpolated at its centre, whatever the numbers of the
    labels are; of equal shares, the larger number's.

    Args:
        labels_DHW: any labels; one that counts nowhere is a label like the others.
        shape: the new (D, H, W).
    """
    if labels_DHW.shape == tuple(shape):
        return labels_DHW
    kernels = _kernels(labels_DHW.shape, shape, averaging=False)
    there = [np.flatnonzero(np.bincount(plane.ravel(), minlength=256)) for plane in labels_DHW]
    out_DHW = np.empty(shape, np.uint8)
    for number, plane_HW in enumerate(out_DHW):
        label, *others = np.unique(np.concatenate([there[one] for one in kernels[0].source[number]]))
        plane_HW[...] = label
        if not others:
            continue
        most_HW = _slice(_share(labels_DHW, label), kernels, number)
        for label in others:
            share_HW = _slice(_share(labels_DHW, label), kernels, number)
            wins_HW = share_HW >= most_HW
            plane_HW[wins_HW] = label
            most_HW[wins_HW] = share_HW[wins_HW]
    return out_DHW


class Slices:
    """The slices of an image in another shape, computed when they are asked for.

    Those of the last request are kept, since a network's patches overlap.

    Args:
        image: as `resample_image`.
        shape: as `resample_image`.
        whole: as `resample_image`.
    """

    def __init__(self, image: NDArray[Any], shape: Sequence[int], *, whole: bool):
        self._image, self._whole = image, whole
        self._kernels = _kernels(image.shape, shape, averaging=True)
        self._kept: dict[int, NDArray[Any]] = {}

    def __getitem__(self, part: slice) -> NDArray[Any]:
        """The slices of a part of the D axis, stacked."""
        numbers = range(*part.indices(len(self._kernels[0].source)))
        self._kept = {
            number: self._kept[number] if number in self._kept else self.slice(number) for number in numbers
        }
        return np.stack(list(self._kept.values()))

    def slice(self, number: int) -> NDArray[Any]:
        """One slice (H, W), or (H, W, channel)."""
        plane = _slice(self._image.__getitem__, self._kernels, number)
        return np.rint(plane, out=plane).astype(self._image.dtype) if self._whole else plane


_Kernels = tuple[Taps, Taps, Taps]


def _kernels(shape: Sequence[int], new_shape: Sequence[int], *, averaging: bool) -> _Kernels:
    depth, height, width = (taps(*sizes, averaging=averaging) for sizes in zip(shape[:3], new_shape))
    return depth, height, width


def _share(labels_DHW: NDArray[np.uint8], label: int) -> Callable[[int], NDArray[np.bool_]]:
    return lambda number: labels_DHW[number] == label


def _slice(source: Callable[[int], NDArray[Any]], kernels: _Kernels, number: int) -> NDArray[np.float32]:
    """A new slice, float32, of the slices that `source` gives by their numbers."""
    depth, height, width = kernels
    mixed: Any = None
    for index, weight in zip(depth.source[number], depth.weight[number], strict=True):
        if weight:
            part = source(int(index)) * weight
            mixed = part if mixed is None else np.add(mixed, part, out=mixed)
    plane: NDArray[np.float32] = along(along(mixed, height, 0), width, 1)
    return plane
