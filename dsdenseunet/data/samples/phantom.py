"""Synthetic abdominal CTs with labels, in LiTS layout: data for a machine that has none.

A phantom has what makes the task hard: organs that look like the liver (spleen, bowel, muscle),
vessels inside it, tumours of 3 to 60 mm that differ from it by as little as 20 HU, noise, partial
volume, unequal voxel sides and, from case to case, every axis order and direction. Anatomy is
drawn relative to the field of view: a smaller matrix shows a smaller patient, so that spacing and
tumours keep their size in mm as far as the matrix allows.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dsdenseunet.data.samples.blob import paint, paint_ribs
from dsdenseunet.data.samples.phantom_anatomy import Anatomy, draw_anatomy
from dsdenseunet.data.samples.scanner import (
    axcodes_of,
    check_cases,
    check_size,
    draw_grid,
    is_healthy,
    scan_ct,
    voxel_centres,
    write,
)
from dsdenseunet.data.scans import nifti

# Slices rendered at once, which bounds memory.
_SLAB = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic case.

    Attributes:
        image_DHW: int16 Hounsfield units, canonical.
        labels_DHW: uint8, 0 background, 1 liver, 2 tumour.
        spacing_mm: (D, H, W).
        axcodes: the axis directions that its file is written with.
    """

    image_DHW: np.ndarray
    labels_DHW: np.ndarray
    spacing_mm: nifti.Spacing
    axcodes: str


def make_phantom(
    seed: int,
    index: int,
    size: tuple[int, int, int] = (128, 128, 128),
    spacing_mm: nifti.Spacing | None = None,
) -> Phantom:
    """Draws case `index` of the phantom set `seed`; the same two numbers give the same case.

    Args:
        seed: of the set.
        index: of the case; the last of every five has no tumour.
        size: (D, H, W), each at least 32. Unless `spacing_mm` is given D is an upper limit: thick slices
            make fewer of them.
        spacing_mm: (D, H, W); drawn where it is None.

    Raises:
        InputError: a side below 32.
    """
    check_size(size)
    rng = np.random.default_rng((seed, index))
    if spacing_mm is None:
        size, spacing_mm = draw_grid(rng, size)
    extent_mm = np.array(size) * spacing_mm
    tumours = 0 if is_healthy(index) else int(rng.integers(1, 8))
    anatomy = draw_anatomy(rng, extent_mm, spacing_mm, tumours)
    image_DHW = np.empty(size, np.int16)
    labels_DHW = np.empty(size, np.uint8)
    centres_mm = voxel_centres(size, spacing_mm)
    for start in range(0, size[0], _SLAB):
        slab = slice(start, start + _SLAB)
        hu, labels_DHW[slab] = _render(anatomy, [centres_mm[0][slab], *centres_mm[1:]], spacing_mm)
        image_DHW[slab] = scan_ct(rng, hu, anatomy.noise_hu)
    return Phantom(image_DHW, labels_DHW, spacing_mm, axcodes_of(seed, index))


def write_phantoms(
    out_dir: str | os.PathLike[str],
    cases: int,
    seed: int,
    size: tuple[int, int, int] = (128, 128, 128),
    compressed: bool = False,
    on_case: Callable[[Path], None] = lambda path: None,
) -> list[Path]:
    """Writes `volume-N` and `segmentation-N`, N from 0, as .nii or .nii.gz.

    Returns:
        Paths of the volumes.

    Raises:
        InputError: fewer than one case, a side below 32, or a file of such a name that is another one:
            it could be a patient's.
    """
    check_cases(cases)
    ending = ".nii.gz" if compressed else ".nii"
    paths = []
    for index in range(cases):
        phantom = make_phantom(seed, index, size)
        for kind, array_DHW in (("segmentation", phantom.labels_DHW), ("volume", phantom.image_DHW)):
            path = Path(out_dir) / f"{kind}-{index}{ending}"
            write(path, array_DHW, phantom.spacing_mm, phantom.axcodes)
        paths.append(path)
        on_case(path)
    return paths


def _render(
    anatomy: Anatomy, mm: list[np.ndarray], spacing_mm: nifti.Spacing
) -> tuple[np.ndarray, np.ndarray]:
    """Hounsfield units and labels of a slab, of which `mm` holds the voxel centres along each axis."""
    shape = tuple(len(axis) for axis in mm)
    hu = np.full(shape, -1000, np.float32)
    liver = np.zeros(shape, np.float32)
    tumour = np.zeros(shape, np.float32)
    for blob in anatomy.torso:
        paint(hu, blob, mm, spacing_mm)
    paint_ribs(hu, mm, anatomy.half_mm)
    for blob in anatomy.organs:
        paint(hu, blob, mm, spacing_mm)
    for blob in anatomy.liver:
        paint(hu, blob, mm, spacing_mm, onto=liver)
    # Contents of the liver end at its surface.
    for blob in anatomy.vessels:
        paint(hu, blob, mm, spacing_mm, inside=liver)
    for blob in anatomy.tumours:
        paint(hu, blob, mm, spacing_mm, inside=liver, onto=tumour)
    labels = (liver >= 0.5).astype(np.uint8)
    labels[tumour >= 0.5] = 2
    hu += liver * anatomy.texture(mm)
    return hu, labels
