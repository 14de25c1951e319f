"""Synthetic abdominal CTs with labels, in LiTS layout: data for a machine that has none.

A phantom has what makes the task hard: organs that look like the liver (spleen, bowel, muscle),
vessels inside it, tumours of 3 to 60 mm that differ from it by as little as 20 HU, noise, partial
volume, unequal voxel sides and, from case to case, every axis order and direction. Anatomy is
drawn relative to the field of view: a smaller matrix shows a smaller patient, so that spacing and
tumours keep their size in mm as far as the matrix allows.
"""

from __future__ import annotations

import dataclasses
import filecmp
import itertools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.samples.phantom_anatomy import Anatomy, Blob, draw_anatomy
from dsdenseunet.data.scans import nifti, walk

SPACING_IN_PLANE_MM = (0.55, 1.0)
SPACING_SLICES_MM = (0.45, 6.0)
LEAST_SIDE = 32
# One case in this many has no tumour (13 of LiTS' 131 have none).
TUMOUR_FREE_EVERY = 5
ORIENTATIONS = tuple(
    "".join(pair[flip] for pair, flip in zip(order, flips))
    for order in itertools.permutations(("RL", "AP", "SI"))
    for flips in itertools.product((0, 1), repeat=3)
)
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
    if min(size) < LEAST_SIDE:
        raise InputError(
            "size", found=f"{size}", expected=f"sides of at least {LEAST_SIDE}", fix="ask for larger phantoms"
        )
    rng = np.random.default_rng((seed, index))
    if spacing_mm is None:
        size, spacing_mm = _draw_geometry(rng, size)
    extent_mm = np.array(size) * spacing_mm
    tumours = 0 if index % TUMOUR_FREE_EVERY == TUMOUR_FREE_EVERY - 1 else int(rng.integers(1, 8))
    anatomy = draw_anatomy(rng, extent_mm, spacing_mm, tumours)
    image_DHW = np.empty(size, np.int16)
    labels_DHW = np.empty(size, np.uint8)
    centres_mm = [
        (np.arange(side, dtype=np.float32) + 0.5 - side / 2) * mm for side, mm in zip(size, spacing_mm)
    ]
    for start in range(0, size[0], _SLAB):
        slab = slice(start, start + _SLAB)
        hu, labels_DHW[slab] = _render(anatomy, [centres_mm[0][slab], *centres_mm[1:]], spacing_mm)
        noise = rng.standard_normal(hu.shape, dtype=np.float32)
        # A reconstruction kernel blurs in plane and leaves noise that is correlated there.
        for axis in (1, 2):
            hu = ndimage.gaussian_filter1d(hu, 0.5, axis, truncate=3)
            noise = ndimage.gaussian_filter1d(noise, 0.6, axis, truncate=3)
        noise *= anatomy.noise_hu / max(float(noise.std()), 1e-6)
        image_DHW[slab] = np.clip(np.rint(hu + noise), -1024, 3071)
    order = np.random.default_rng(seed).permutation(len(ORIENTATIONS))
    axcodes = ORIENTATIONS[order[index % len(ORIENTATIONS)]]
    return Phantom(image_DHW, labels_DHW, spacing_mm, axcodes)


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
    if cases < 1:
        raise InputError("cases", found=f"{cases}", expected="at least 1", fix="ask for more cases")
    ending = ".nii.gz" if compressed else ".nii"
    paths = []
    for index in range(cases):
        phantom = make_phantom(seed, index, size)
        for kind, array_DHW in (("segmentation", phantom.labels_DHW), ("volume", phantom.image_DHW)):
            path = Path(out_dir) / f"{kind}-{index}{ending}"
            with tempfile.TemporaryDirectory() as folder:
                new = Path(folder) / path.name
                nifti.write_new(new, array_DHW, phantom.spacing_mm, phantom.axcodes)
                _refuse_others(path, new)
            nifti.write_new(path, array_DHW, phantom.spacing_mm, phantom.axcodes)
        paths.append(path)
        on_case(path)
    return paths


def _refuse_others(path: Path, new: Path) -> None:
    """Refuses a case that is there already, unless it is the very file that is to be written."""
    stem = walk.volume_stem(path.name)
    for there in path.parent.glob("*") if path.parent.is_dir() else ():
        if walk.volume_stem(there.name) == stem and not (there == path and filecmp.cmp(path, new, False)):
            raise InputError(
                there,
                found="a file of a phantom's name that is not this phantom",
                expected="a folder without such files",
                fix="choose another --out",
            )


def _draw_geometry(
    rng: np.random.Generator, size: tuple[int, int, int]
) -> tuple[tuple[int, int, int], nifti.Spacing]:
    """Spacing within LiTS' range such that the slices cover an abdomen, and how many that takes."""
    in_plane = float(rng.uniform(*SPACING_IN_PLANE_MM))
    wanted_mm = in_plane * max(size[1:]) * float(rng.uniform(0.7, 1.1))
    thinnest = max(SPACING_SLICES_MM[0], 0.6 * wanted_mm / size[0])
    thickest = max(min(SPACING_SLICES_MM[1], wanted_mm / LEAST_SIDE * 2), thinnest)
    between = float(np.exp(rng.uniform(np.log(thinnest), np.log(thickest))))
    depth = int(np.clip(round(wanted_mm / between), min(16, size[0]), size[0]))
    return (depth, size[1], size[2]), (between, in_plane, in_plane)


def _render(
    anatomy: Anatomy, mm: list[np.ndarray], spacing_mm: nifti.Spacing
) -> tuple[np.ndarray, np.ndarray]:
    """Hounsfield units and labels of a slab, of which `mm` holds the voxel centres along each axis."""
    shape = tuple(len(axis) for axis in mm)
    hu = np.full(shape, -1000, np.float32)
    liver = np.zeros(shape, np.float32)
    tumour = np.zeros(shape, np.float32)

    def paint(blob: Blob, inside: np.ndarray | None = None, onto: np.ndarray | None = None) -> None:
        boxed = blob.coverage(mm, spacing_mm)
        if boxed is None:
            return
        box, share = boxed
        if inside is not None:
            share = share * inside[box]
        hu[box] += share * (blob.hu - hu[box])
        if onto is not None:
            np.maximum(onto[box], share, out=onto[box])

    for blob in anatomy.torso:
        paint(blob)
    anatomy.paint_ribs(hu, mm)
    for blob in anatomy.organs:
        paint(blob)
    for blob in anatomy.liver:
        paint(blob, onto=liver)
    # Contents of the liver end at its surface.
    for blob in anatomy.vessels:
        paint(blob, inside=liver)
    for blob in anatomy.tumours:
        paint(blob, inside=liver, onto=tumour)
    labels = (liver >= 0.5).astype(np.uint8)
    labels[tumour >= 0.5] = 2
    hu += liver * anatomy.texture(mm)
    return hu, labels
