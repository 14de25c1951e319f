"""Random patches of cached cases: one patch from a random generator, nothing else."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from dsdenseunet.data import warp
from dsdenseunet.data.appearance import Appearance
from dsdenseunet.data.augment import (
    Augmentation,
    Positions,
    cut_box,
    gather_image,
    gather_labels,
    sample_positions,
)
from dsdenseunet.data.cache import Cache, CachedCase
from dsdenseunet.data.intensity import normalise, with_channels
from dsdenseunet.tasks.channel import Channel, scaling_of


@dataclasses.dataclass(frozen=True)
class PatchSampler:
    """Draws a patch of a case. Holds no volume: arrays are mapped anew for each patch.

    Attributes:
        cache: prepared cases.
        names: the cases to draw from.
        patch_size: (D, H, W).
        channels: of the images.
        centre_share: share of patches centred on a voxel of (any class, class 1, class 2, ...).
        augmentation: random zoom and mirroring.
        warp: random rotation, scaling and elastic deformation, None for none.
        appearance: random changes of intensities, None for none.
        on_device: give what a device needs to do all augmentation and the normalisation itself.
    """

    cache: Cache
    names: tuple[str, ...]
    patch_size: tuple[int, int, int]
    channels: tuple[Channel, ...]
    centre_share: tuple[float, ...]
    augmentation: Augmentation
    warp: warp.Warp | None = None
    appearance: Appearance | None = None
    on_device: bool = False

    def sample(self, case_index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Draws one patch.

        Args:
            case_index: which of `names`.
            rng: the only source of randomness.

        Returns:
            image (D, H, W, channel) float32; labels (D, H, W) int32; case, int32.
            With `on_device`, what `cut_box` returns, scaling (channels, 5) float32, and case.

        Raises:
            RuntimeError: naming the case, whatever went wrong (it crosses threads and processes).
        """
        name = self.names[case_index]
        try:
            case = self.cache.case(name)
            centre = choose_centre(case, self.centre_share, rng)
            scale, mirror = self.augmentation.draw(rng)
            d, h, w = (
                sample_positions(*axis)
                for axis in zip(case.labels_DHW.shape, centre, self.patch_size, scale, mirror)
            )
            patch = self._read(case, (d, h, w), rng)
            if self.appearance is not None:
                drawn = self.appearance.draw(rng, (*self.patch_size, len(self.channels)))
                if self.on_device:
                    patch |= drawn
                else:
                    patch["image"] = self.appearance.apply(np, patch["image"], drawn)
            return {**patch, "case": np.int32(case_index)}
        except Exception as error:
            raise RuntimeError(f"case {name}: {type(error).__name__}: {error}") from error

    @functools.cached_property
    def _warped_box_size(self) -> tuple[int, int, int]:
        assert self.warp is not None
        records = [self.cache.record(name) for name in self.names]
        extent = self.augmentation.extent(self.patch_size)
        return self.warp.box_size(extent, [one.shape for one in records], [one.spacing_mm for one in records])

    def _read(self, case: CachedCase, positions: Positions, rng: np.random.Generator) -> dict[str, Any]:
        """The patch that samples a case at `positions` along D, H and W before it is warped."""
        image_DHWC, labels_DHW = with_channels(case.image_DHW), case.labels_DHW
        scaling = scaling_of(self.channels, case.statistics)
        if self.warp is not None:
            matrix = self.warp.draw(rng, case.spacing_mm)
            elastic = self.warp.elastic
            points = elastic.draw(rng, self.patch_size, case.spacing_mm) if elastic else None
            box = warp.cut_box(image_DHWC, labels_DHW, positions, matrix, points, self._warped_box_size)
            if self.on_device:
                return {**box, "scaling": scaling}
            normalised_DHWC = normalise(box["image"], scaling)
            outside = scaling[:, 4]
            image, labels = warp.sample(np, box, normalised_DHWC, self.patch_size, outside, elastic)
            return {"image": image, "labels": labels}
        if self.on_device:
            box = cut_box(image_DHWC, labels_DHW, positions, self.augmentation.box_size(self.patch_size))
            return {**box, "scaling": scaling}
        return {
            "image": gather_image(image_DHWC, positions, scaling),
            "labels": gather_labels(labels_DHW, positions),
        }


def choose_centre(
    case: CachedCase, centre_share: tuple[float, ...], rng: np.random.Generator
) -> tuple[int, int, int]:
    """Draws the voxel that a patch is centred on.

    First what to centre on, by `centre_share`: any voxel, or a class; then one of its voxels, each as
    likely as any other. Where the case has no voxel of the class, the class before it takes its place.
    """
    target = int(np.searchsorted(np.cumsum(centre_share), rng.random() * sum(centre_share), side="right"))
    target = min(target, len(centre_share) - 1)
    while target and not case.label_counts[target]:
        target -= 1
    if not target:
        d, h, w = (int(rng.integers(side)) for side in case.labels_DHW.shape)
        return d, h, w
    # The slice by its share of voxels, then a voxel of the slice: only that slice is read.
    nth = int(rng.integers(case.label_counts[target]))
    upto = np.cumsum(case.slice_counts_DC[:, target])
    depth = int(np.searchsorted(upto, nth, side="right"))
    within = nth - (int(upto[depth - 1]) if depth else 0)
    flat = int(np.flatnonzero(case.labels_DHW[depth] == target)[within])
    height, width = divmod(flat, case.labels_DHW.shape[2])
    return depth, height, width
