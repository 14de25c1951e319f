"""Where a random patch lies in a volume, and reading it: zoom, mirror and padding in one gather."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from dsdenseunet.data.intensity import normalise

Axes = tuple[float, float, float]


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


def gather_labels(labels_DHW: np.ndarray, positions: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Labels at the nearest voxels; background outside the volume.

    Returns:
        int32, a side for each of the positions' lengths.
    """
    indices, outside = zip(*(_nearest(p, side) for p, side in zip(positions, labels_DHW.shape)))
    out_DHW, starts = _crop(labels_DHW, indices)
    for axis in range(3):
        out_DHW = _take(out_DHW, indices[axis] - starts[axis], axis)
    out_DHW = out_DHW.astype(np.int32)
    _fill(out_DHW, outside, 0)
    return out_DHW


def gather_image(
    image_DHW: np.ndarray,
    positions: tuple[np.ndarray, np.ndarray, np.ndarray],
    hu_window: tuple[float, float],
) -> np.ndarray:
    """The image, windowed to [-1, 1], linearly interpolated; -1 outside the volume.

    Returns:
        float32, a side for each of the positions' lengths.
    """
    outside = [_nearest(p, side)[1] for p, side in zip(positions, image_DHW.shape)]
    clipped = [np.clip(p, 0, side - 1) for p, side in zip(positions, image_DHW.shape)]
    below = [np.floor(p).astype(np.intp) for p in clipped]
    above = [np.minimum(i + 1, side - 1) for i, side in zip(below, image_DHW.shape)]
    weights = [(p - i).astype(np.float32) for p, i in zip(clipped, below)]
    crop_DHW, starts = _crop(image_DHW, [np.concatenate(pair) for pair in zip(below, above)])
    out = normalise(crop_DHW, hu_window)
    for axis in range(3):
        low = below[axis] - starts[axis]
        if not weights[axis].any():
            out = _take(out, low, axis)
            continue
        weight = weights[axis].reshape([-1 if a == axis else 1 for a in range(3)])
        lower = out.take(low, axis)
        upper = out.take(above[axis] - starts[axis], axis)
        upper -= lower
        upper *= weight
        lower += upper
        out = lower
    _fill(out, outside, -1)
    return np.ascontiguousarray(out)


def _take(array: np.ndarray, indices: np.ndarray, axis: int) -> np.ndarray:
    """`array.take`, without a copy where that changes nothing."""
    if np.array_equal(indices, np.arange(array.shape[axis])):
        return array
    return array.take(indices, axis)


def _nearest(positions: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Index of the nearest voxel of the volume, and which positions lie outside it."""
    outside = (positions < -0.5) | (positions > side - 0.5)
    return np.clip(np.floor(positions + 0.5).astype(np.intp), 0, side - 1), outside


def _crop(volume_DHW: np.ndarray, indices: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """The box that holds all indices, read from disk in one go, and where it starts."""
    starts = [int(i.min()) for i in indices]
    box = tuple(slice(start, int(i.max()) + 1) for start, i in zip(starts, indices))
    return np.asarray(volume_DHW[box]), starts


def _fill(out_DHW: np.ndarray, outside: Sequence[np.ndarray], value: float) -> None:
    for axis, mask in enumerate(outside):
        if mask.any():
            np.moveaxis(out_DHW, axis, 0)[mask] = value
