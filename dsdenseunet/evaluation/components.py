"""Connected components of two masks and how they overlap, as sizes and counts instead of voxels.

Components are 6-connected and numbered from 1 in scan order: by their first voxel with the last axis
running fastest. The challenge's scorer depends on that order (see `lesions`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import cc3d
import numpy as np
from numpy.typing import NDArray

from dsdenseunet.data.boxes import Box


@dataclasses.dataclass(frozen=True)
class Components:
    """Components of one mask inside a cropped volume.

    Attributes:
        labels: component number of each voxel of the crop, 0 outside.
        sizes: voxels of components 1, 2, ... (the first entry is component 1).
        boxes: bounding box of each component, within the crop.
        centroids: (count, ndim) mean voxel index of each component, within the crop.
    """

    labels: NDArray[np.unsignedinteger]
    sizes: NDArray[np.int64]
    boxes: tuple[Box, ...]
    centroids: NDArray[np.float64]

    @property
    def count(self) -> int:
        """Number of components."""
        return len(self.sizes)

    def box(self, ids: Iterable[int]) -> Box:
        """The smallest box that holds the given components."""
        return join_boxes([self.boxes[i - 1] for i in ids])

    def mask(self, ids: Iterable[int], box: Box) -> NDArray[np.bool_]:
        """The union of the given components inside `box`."""
        chosen = np.zeros(self.count + 1, np.bool_)
        chosen[list(ids)] = True
        return chosen[self.labels[box]]


def join_boxes(boxes: Iterable[Box]) -> Box:
    """The smallest box that holds all of `boxes` (at least one)."""
    return tuple(
        slice(min(side.start for side in sides), max(side.stop for side in sides))
        for sides in zip(*boxes, strict=True)
    )


def find_components(mask: NDArray[np.bool_]) -> Components:
    """Labels the 6-connected components of a 3D mask in scan order."""
    labels = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=6)
    flat = labels.reshape(-1)
    voxels = np.flatnonzero(flat)
    count = int(flat.max()) if voxels.size else 0
    first = np.zeros(count + 1, np.int64)
    # Written backwards, so that what stays is the first voxel of each.
    first[flat[voxels[::-1]]] = voxels[::-1]
    order = np.argsort(first[1:], kind="stable")
    if not np.array_equal(order, np.arange(count)):
        renumber = np.zeros(count + 1, labels.dtype)
        renumber[order + 1] = np.arange(1, count + 1)
        labels = renumber[labels]
    statistics = cc3d.statistics(labels)
    return Components(
        labels=labels,
        sizes=np.asarray(statistics["voxel_counts"][1 : count + 1], np.int64),
        boxes=tuple(tuple(box) for box in statistics["bounding_boxes"][1 : count + 1]),
        centroids=np.asarray(statistics["centroids"][1 : count + 1], np.float64).reshape(count, mask.ndim),
    )


def count_overlaps(prediction: Components, reference: Components) -> dict[tuple[int, int], int]:
    """Shared voxels of every pair (prediction id, reference id) that has any."""
    both = (prediction.labels != 0) & (reference.labels != 0)
    width = reference.count + 1
    codes = prediction.labels[both].astype(np.int64) * width + reference.labels[both]
    values, counts = np.unique(codes, return_counts=True)
    return {
        (int(code) // width, int(code) % width): int(number)
        for code, number in zip(values, counts, strict=True)
    }
