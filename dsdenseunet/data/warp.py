"""Random rotation, scaling and elastic deformation of a patch: each of its voxels is sampled elsewhere.

Random numbers are drawn on the host. A box of the volume is sampled there by NumPy or on a device by JAX, by
the same code: `xp` is either module. Rotations and displacements are in millimetres, whatever the spacing.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from dsdenseunet.data.chance import Chance
from dsdenseunet.data.elastic import Elastic

Axes = tuple[float, float, float]
Size = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Warp:
    """Which rotations, scalings and displacements are made.

    Attributes:
        rotation: share of patches that are turned.
        degrees: the largest turn about D, H and W, either way.
        scaling: the factor of each axis, drawn for each by itself; 1.2 shows things larger.
        elastic: smooth displacements.
    """

    rotation: float
    degrees: Axes
    scaling: Chance
    elastic: Elastic

    @classmethod
    def of(cls, augment: Mapping[str, Any]) -> Warp:
        """From `config.augment`."""
        d, h, w = augment["rotation"]["degrees"]
        return cls(
            augment["rotation"]["probability"],
            (d, h, w),
            Chance.of(augment["scaling"], 1.0),
            Elastic.of(augment),
        )

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self.rotation > 0 or bool(self.scaling) or bool(self.elastic)

    def draw(self, rng: np.random.Generator, spacing_mm: Sequence[float]) -> np.ndarray:
        """The matrix (3, 3) that takes a way from the patch's middle, in voxels, to one in the volume."""
        turns, shares = rng.random() < self.rotation, rng.uniform(-1, 1, 3)
        scales, factors = (
            rng.random() < self.scaling.probability,
            rng.uniform(self.scaling.low, self.scaling.high, 3),
        )
        turned = rotation(np.deg2rad(self.degrees) * shares) if turns else np.eye(3)
        spacing = np.asarray(spacing_mm, np.float64)
        return turned * (spacing / factors if scales else spacing) / spacing[:, None]

    def box_size(
        self, inner: Sequence[float], shapes: Sequence[Size], spacings_mm: Sequence[Sequence[float]]
    ) -> Size:
        """Voxels (D, H, W) that hold all that any patch samples, whatever is drawn, of any of the volumes.

        Args:
            inner: extent of the patch in the volume's voxels without rotation and scaling.
            shapes: of the volumes.
            spacings_mm: of the volumes.
        """
        # Each entry of a product of three turns is at most that of the product of their bounds.
        sines = [math.sin(math.radians(min(abs(angle), 90.0))) for angle in self.degrees]
        bound = np.eye(3)
        for axis, sine in enumerate(sines if self.rotation else ()):
            turn = np.eye(3)
            a, b = (other for other in range(3) if other != axis)
            turn[a, b] = turn[b, a] = sine
            bound = bound @ turn
        bound = np.minimum(bound, 1.0) / (self.scaling.low if self.scaling else 1.0)
        extents = [
            np.ceil((bound * spacing / np.reshape(spacing, (3, 1))) @ inner + 2 * self.elastic.reach(spacing))
            + 3
            for spacing in map(np.asarray, spacings_mm)
        ]
        largest = np.max(shapes, axis=0)
        d, h, w = (int(side) for side in np.minimum(np.max(extents, axis=0), largest))
        return d, h, w


def rotation(angles: np.ndarray) -> np.ndarray:
    """(3, 3): turns by three angles (radians) about D, H and W, the last one first."""
    total = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        a, b = (other for other in range(3) if other != axis)
        turn[a, a] = turn[b, b] = math.cos(angle)
        turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
        total = total @ turn
    return total


def cut_box(
    image_DHWC: np.ndarray,
    labels_DHW: np.ndarray,
    positions: tuple[np.ndarray, np.ndarray, np.ndarray],
    matrix: np.ndarray,
    points: np.ndarray | None,
    box_size: Size,
) -> dict[str, np.ndarray]:
    """What `sample` makes a patch of: voxels as they are, and where to sample them.

    Args:
        image_DHWC: the volume.
        labels_DHW: its labels.
        positions: at which the patch would sample the volume along D, H and W without the matrix.
        matrix: of `Warp.draw`.
        points: of `Elastic.draw`, None for none.
        box_size: of `Warp.box_size`.

    Returns:
        image, labels: boxes of `box_size` (the image's with its channels) in the volume's types; behind the
            volume's end, zeros.
        way: (D + H + W of the patch,) float32: `positions` from the patch's middle.
        matrix: (3, 3) float32.
        points: those given, if any.
        middle: (3,) float32, of the patch in the box.
        ends: (3, 2) float32, the volume's first and last voxel in the box.
    """
    middle = np.array([(axis[0] + axis[-1]) / 2 for axis in positions])
    shape = np.array(labels_DHW.shape)
    starts = np.clip(np.floor(middle - (np.array(box_size) - 1) / 2).astype(int), 0, None)
    starts = np.minimum(starts, np.maximum(shape - box_size, 0))
    place = tuple(slice(start, start + side) for start, side in zip(starts, box_size))
    image = np.zeros((*box_size, *image_DHWC.shape[3:]), image_DHWC.dtype)
    labels = np.zeros(box_size, labels_DHW.dtype)
    inner = tuple(slice(min(side, n - start)) for side, n, start in zip(box_size, shape, starts))
    image[inner], labels[inner] = image_DHWC[place], labels_DHW[place]
    return {
        "image": image,
        "labels": labels,
        "way": np.concatenate([axis - m for axis, m in zip(positions, middle)]).astype(np.float32),
        "matrix": matrix.astype(np.float32),
        **({} if points is None else {"points": points}),
        "middle": (middle - starts).astype(np.float32),
        "ends": np.stack([-starts, shape - starts - 1], 1).astype(np.float32),
    }


def sample(
    xp: ModuleType,
    box: Mapping[str, Any],
    image_DHWC: Any,
    patch_size: Size,
    outside: Any,
    elastic: Elastic | None = None,
) -> tuple[Any, Any]:
    """The patch that lies in a box: its image, linearly interpolated, and its labels, by largest share.

    A label is interpolated as the image is: of the eight voxels around a sample it takes the class that has
    the largest share of their weights, so that a turned organ's border is as smooth as the organ's.

    Args:
        xp: numpy or jax.numpy.
        box: what `cut_box` returns.
        image_DHWC: the box' image as the network takes it, (D, H, W, C) float32.
        patch_size: (D, H, W).
        outside: what each channel is where a sample lies outside the volume; the label there is 0.
        elastic: whose `points` are in the box, if any are.

    Returns:
        (D, H, W, C) float32 and (D, H, W) int32, of `patch_size`.
    """
    sides, labels_DHW = image_DHWC.shape[:3], box["labels"]
    depth, height, _ = patch_size
    ways = [
        way.reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, way in enumerate(xp.split(box["way"], (depth, depth + height)))
    ]
    moved_DHW3 = elastic.displacement(xp, box["points"], patch_size) if elastic else None
    within, below, weight = [], [], []
    for axis, side in enumerate(sides):
        place = box["middle"][axis] + sum(box["matrix"][axis, other] * ways[other] for other in range(3))
        if moved_DHW3 is not None:
            place = place + moved_DHW3[..., axis]
        first, last = box["ends"][axis, 0], box["ends"][axis, 1]
        within.append((place >= first - 0.5) & (place <= last + 0.5))
        place = xp.clip(place, xp.maximum(first, 0), xp.minimum(last, side - 1))
        lower = xp.floor(place)
        below.append(lower.astype(np.int32))
        weight.append(place - lower)

    voxels, total = image_DHWC.reshape(-1, image_DHWC.shape[-1]), 0.0
    shares, classes = [], []
    for corner in itertools.product((0, 1), repeat=3):
        d, h, w = (xp.minimum(b + c, side - 1) for b, c, side in zip(below, corner, sides))
        index = (d * sides[1] + h) * sides[2] + w
        shares.append(math.prod((w if c else 1 - w) for w, c in zip(weight, corner)))
        total = total + shares[-1][..., None] * xp.take(voxels, index, 0)
        classes.append(xp.take(labels_DHW.reshape(-1), index, 0))
    inside = within[0] & within[1] & within[2]
    image = xp.where(inside[..., None], total, outside).astype(np.float32)
    return image, xp.where(inside, _largest(xp, classes, shares), 0).astype(np.int32)


def _largest(xp: ModuleType, classes: Sequence[Any], shares: Sequence[Any]) -> Any:
    """The class with the largest sum of shares, voxel by voxel; the first of them where two are equal."""
    label, most = classes[0], 0.0
    for one in classes:
        votes = sum(xp.where(other == one, share, 0.0) for other, share in zip(classes, shares))
        label, most = xp.where(votes > most, one, label), xp.maximum(votes, most)
    return label
