"""A prediction and its reference, measured: counts, lesions, overlaps and surface distances."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.data.boxes import Box, bounding_box
from dsdenseunet.evaluation import components, lesions, overlap, surface, volumes
from dsdenseunet.evaluation.components import Components
from dsdenseunet.evaluation.overlap import Counts

# LiTS' labels; a tumour is part of the liver.
LIVER = 1
TUMOUR = 2


class Pair:
    """What both modes need of two label volumes, each computed once and only when asked for.

    Args:
        prediction: label volume (0 background, 1 liver, 2 tumour), three axes.
        reference: label volume of the same shape.
        spacing_mm: voxel spacing in mm, one number per axis.

    Raises:
        ValueError: shapes differ or there are not three axes.
    """

    def __init__(
        self, prediction: NDArray[np.integer], reference: NDArray[np.integer], spacing_mm: Sequence[float]
    ):
        if prediction.shape != reference.shape:
            raise ValueError(f"shapes differ: prediction {prediction.shape}, reference {reference.shape}")
        if prediction.ndim != 3 or len(spacing_mm) != 3:
            raise ValueError(f"expected three axes, got shape {prediction.shape}, spacing {spacing_mm}")
        self.shape = prediction.shape
        self.spacing_mm = tuple(float(side) for side in spacing_mm)
        # Everything that follows lies inside the box of what either side labels.
        box = _crop_box(prediction, reference)
        self._prediction = np.ascontiguousarray(prediction[box])
        self._reference = np.ascontiguousarray(reference[box])
        tumour_box = bounding_box((self._prediction == TUMOUR) | (self._reference == TUMOUR))
        self._tumour_box = tumour_box or (slice(0, 1),) * 3
        self.tumour_offset = tuple(
            outer.start + inner.start for outer, inner in zip(box, self._tumour_box, strict=True)
        )

    @functools.cached_property
    def liver_counts(self) -> Counts:
        """Voxels of the liver, tumour included."""
        return overlap.count(self._prediction >= LIVER, self._reference >= LIVER)

    @functools.cached_property
    def tumour_counts(self) -> Counts:
        """Voxels of the tumour."""
        return overlap.count(*self._tumours())

    @functools.cached_property
    def has_plain_liver(self) -> bool:
        """Whether the prediction has a voxel of label 1."""
        return bool((self._prediction == LIVER).any())

    @functools.cached_property
    def liver_distances(self) -> surface.SurfaceDistances | None:
        """Surface distances of the liver."""
        return surface.measure(self._prediction >= LIVER, self._reference >= LIVER, self.spacing_mm)

    @functools.cached_property
    def tumour_distances(self) -> surface.SurfaceDistances | None:
        """Surface distances of all tumour together."""
        return surface.measure(*self._tumours(), self.spacing_mm)

    @functools.cached_property
    def predicted_lesions(self) -> Components:
        """Components of the prediction's tumour."""
        return components.find_components(self._prediction[self._tumour_box] == TUMOUR)

    @functools.cached_property
    def reference_lesions(self) -> Components:
        """Components of the reference's tumour."""
        return components.find_components(self._reference[self._tumour_box] == TUMOUR)

    @functools.cached_property
    def overlaps(self) -> lesions.Overlaps:
        """Sizes and shared voxels of all lesions."""
        return lesions.Overlaps(
            self.predicted_lesions.sizes,
            self.reference_lesions.sizes,
            components.count_overlaps(self.predicted_lesions, self.reference_lesions),
        )

    def group_counts(self, group: lesions.Group) -> Counts:
        """Voxels of a group's two sides."""
        return Counts(
            int(sum(self.predicted_lesions.sizes[p - 1] for p in group.predictions)),
            int(sum(self.reference_lesions.sizes[r - 1] for r in group.references)),
            group.intersection,
        )

    def group_distances(self, group: lesions.Group) -> surface.SurfaceDistances | None:
        """Surface distances between a group's two sides; both modes share what is computed."""
        if not group.predictions or not group.references:
            return None
        if group not in self._distances:
            box: Box = components.join_boxes(
                [self.predicted_lesions.box(group.predictions), self.reference_lesions.box(group.references)]
            )
            self._distances[group] = surface.measure(
                self.predicted_lesions.mask(group.predictions, box),
                self.reference_lesions.mask(group.references, box),
                self.spacing_mm,
            )
        return self._distances[group]

    def millilitres(self, voxels: int) -> float:
        """Volume of a number of this pair's voxels, mL."""
        return volumes.millilitres(voxels, self.spacing_mm)

    @functools.cached_property
    def _distances(self) -> dict[lesions.Group, surface.SurfaceDistances | None]:
        return {}

    def _tumours(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        box = self._tumour_box
        return self._prediction[box] == TUMOUR, self._reference[box] == TUMOUR


def _crop_box(prediction: NDArray[np.integer], reference: NDArray[np.integer]) -> Box:
    """The box of all labelled voxels, found slab by slab as they lie in memory; one voxel if none are."""
    slowest = int(np.argmax(np.abs(reference.strides)))
    slabs, boxes = np.moveaxis(prediction, slowest, 0), []
    others = np.moveaxis(reference, slowest, 0)
    for index in range(len(slabs)):
        box = bounding_box((slabs[index] != 0) | (others[index] != 0))
        if box is not None:
            boxes.append((slice(index, index + 1), *box))
    if not boxes:
        return (slice(0, 1),) * 3
    sides = list(components.join_boxes(boxes))
    sides.insert(slowest, sides.pop(0))
    return tuple(sides)
