"""Where a random patch lies in a volume, and reading it: zoom, mirror and padding in one gather.

The gather is done here, or what it needs is cut out for a device to do it (`cut_box`, then ops/resample.py).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dsdenseunet.data.intensity import normalise

Axes = tuple[float, float, float]
Positions = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random zoom and mirroring.

    Attributes:
        scale_range: the zoom factor is drawn uniformly from it; 1.2 shows things larger.
        scale_depth: whether D is zoomed too, or only H and W.
        mirror_probability: for each of D, H, W.
    """

    scale_range: tuple[float, float] = (1.0, 1.0)
    scale_depth: bool = False
    mirror_probability: Axes = (0.0, 0.0, 0.0)

    def draw(self, rng: np.random.Generator) -> tuple[Axes, tuple[bool, bool, bool]]:
        """Draws the zoom factor of each axis, and whether each is mirrored."""
        scale = float(rng.uniform(*self.scale_range))
        d, h, w = (bool(draw < p) for draw, p in zip(rng.random(3), self.mirror_probability))
        return (scale if self.scale_depth else 1.0, scale, scale), (d, h, w)

    def box_size(self, patch_size: Sequence[int]) -> tuple[int, int, int]:
        """Voxels (D, H, W) that hold all that any patch of `patch_size` samples, whatever is drawn."""
        if self.scale_range == (1.0, 1.0):
            return patch_size[0], patch_size[1], patch_size[2]
        # From the voxel below the first sample to the one above the last, and one for rounding.
        depth, height, width = (math.floor(extent) + 3 for extent in self.extent(patch_size))
        return depth if self.scale_depth else patch_size[0], height, width

    def extent(self, patch_size: Sequence[int]) -> Axes:
        """The largest distance (D, H, W) between a patch's first and last sample, in voxels."""
        depth, height, width = ((side - 1) / self.scale_range[0] for side in patch_size)
        return depth if self.scale_depth else patch_size[0] - 1, height, width


def sample_positions(side: int, centre: int, patch_side: int, scale: float, mirror: bool) -> np.ndarray:
    """Positions along one axis, in voxels, at which a patch samples the volume.

    The patch covers `patch_side` / `scale` voxels around `centre`, moved inwards where that reaches
    beyond the volume; a volume that is smaller lies in the patch's middle.

    Returns:
        (patch_side,) float64. A position outside [-0.5, side - 0.5] lies outside the volume.
    """
    extent = patch_side / scale
    start = min(max(centre + 0.5 - extent / 2, 0.0), side - extent) if extent < side else (side - extent) / 2
    if scale == 1.0:
        start = np.floor(start)  # Voxels stay what they are.
    positions = start + (np.arange(patch_side) + 0.5) / scale - 0.5
    return positions[::-1] if mirror else positions


class AxisSamples(NamedTuple):
    """What a patch takes along one axis of a volume; an entry a sample.

    Attributes:
        below, above: indices of the voxels on both sides; `above` is `below` where its weight is 0.
        weight: float32, share of `above`.
        nearest: index of the nearest voxel.
        outside: whether the sample lies outside the volume.
    """

    below: np.ndarray
    above: np.ndarray
    weight: np.ndarray
    nearest: np.ndarray
    outside: np.ndarray

    @classmethod
    def of(cls, positions: np.ndarray, side: int) -> AxisSamples:
        """Of the positions along an axis of `side` voxels; what lies outside takes the outermost voxel."""
        clipped = np.clip(positions, 0, side - 1)
        below = np.floor(clipped).astype(np.intp)
        weight = (clipped - below).astype(np.float32)
        nearest = np.clip(np.floor(positions + 0.5).astype(np.intp), 0, side - 1)
        outside = (positions < -0.5) | (positions > side - 0.5)
        return cls(below, below + (weight > 0), weight, nearest, outside)


def gather_labels(labels_DHW: np.ndarray, positions: Positions) -> np.ndarray:
    """Labels at the nearest voxels; background outside the volume.

    Returns:
        int32, a side for each of the positions' lengths.
    """
    axes = _samples(positions, labels_DHW)
    out_DHW, starts = _crop(labels_DHW, [axis.nearest for axis in axes])
    for number, axis in enumerate(axes):
        out_DHW = _take(out_DHW, axis.nearest - starts[number], number)
    out_DHW = out_DHW.astype(np.int32)
    _fill(out_DHW, axes, 0)
    return out_DHW


def gather_image(image_DHWC: np.ndarray, positions: Positions, scaling: np.ndarray) -> np.ndarray:
    """The image, normalised and linearly interpolated; each channel's `fill` outside the volume.

    Args:
        image_DHWC: of any type.
        positions: at which it is sampled.
        scaling: (channels, 5), see `tasks.channel`.

    Returns:
        float32 (D, H, W, channels), a side for each of the positions' lengths.
    """
    axes = _samples(positions, image_DHWC)
    crop_DHWC, starts = _crop(image_DHWC, [np.concatenate([axis.below, axis.above]) for axis in axes])
    out = normalise(crop_DHWC, scaling)
    for number, axis in enumerate(axes):
        below = axis.below - starts[number]
        if not axis.weight.any():
            out = _take(out, below, number)
            continue
        weight = axis.weight.reshape([-1 if a == number else 1 for a in range(out.ndim)])
        lower = out.take(below, number)
        upper = out.take(axis.above - starts[number], number)
        upper -= lower
        upper *= weight
        lower += upper
        out = lower
    _fill(out, axes, scaling[..., 4])
    return np.ascontiguousarray(out)


def cut_box(
    image_DHWC: np.ndarray, labels_DHW: np.ndarray, positions: Positions, box_size: tuple[int, int, int]
) -> dict[str, np.ndarray]:
    """What `ops.resample` makes a patch of: voxels as they are, and how to sample them.

    Args:
        image_DHWC: of any type.
        labels_DHW: uint8.
        positions: at which the patch samples the volume, along D, H and W.
        box_size: `Augmentation.box_size`, the same for every patch.

    Returns:
        image, labels: boxes of `box_size` (the image's with its channels), in the volume's own types; behind
        the volume's end, zeros.
        below, weight, nearest: (D + H + W of the patch,), along D, then H, then W; int32, float32, int32.
        The voxel of the box at or below each sample, the weight of the one after it, and the nearest
        one, -1 where the sample lies outside the volume.
    """
    axes = _samples(positions, image_DHWC)
    crop_DHWC, starts = _crop(image_DHWC, [np.concatenate([axis.below, axis.above]) for axis in axes])
    inner = tuple(slice(side) for side in crop_DHWC.shape[:3])
    image = np.zeros((*box_size, *image_DHWC.shape[3:]), image_DHWC.dtype)
    labels = np.zeros(box_size, labels_DHW.dtype)
    image[inner] = crop_DHWC
    labels[inner] = labels_DHW[tuple(slice(s, s + side) for s, side in zip(starts, crop_DHWC.shape))]
    below = [axis.below - start for axis, start in zip(axes, starts)]
    nearest = [np.where(axis.outside, -1, axis.nearest - start) for axis, start in zip(axes, starts)]
    return {
        "image": image,
        "labels": labels,
        "below": np.concatenate(below).astype(np.int32),
        "weight": np.concatenate([axis.weight for axis in axes]),
        "nearest": np.concatenate(nearest).astype(np.int32),
    }


def _samples(positions: Positions, volume_DHW: np.ndarray) -> list[AxisSamples]:
    return [AxisSamples.of(p, side) for p, side in zip(positions, volume_DHW.shape)]


def _take(array: np.ndarray, indices: np.ndarray, axis: int) -> np.ndarray:
    """`array.take`, without a copy where that changes nothing."""
    if np.array_equal(indices, np.arange(array.shape[axis])):
        return array
    return array.take(indices, axis)


def _crop(volume_DHW: np.ndarray, indices: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """The box that holds all indices, read from disk in one go, and where it starts."""
    starts = [int(i.min()) for i in indices]
    box = tuple(slice(start, int(i.max()) + 1) for start, i in zip(starts, indices))
    return np.asarray(volume_DHW[box]), starts


def _fill(out_DHW: np.ndarray, axes: Sequence[AxisSamples], value: float | np.ndarray) -> None:
    for number, axis in enumerate(axes):
        if axis.outside.any():
            np.moveaxis(out_DHW, number, 0)[axis.outside] = value
