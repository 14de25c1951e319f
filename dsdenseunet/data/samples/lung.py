"""Synthetic chests with lesions as of COVID-19: CT and PET with labels, in the Decathlon's layout.

This is the task that the paper names as future work, with what LiTS does not have: two channels, of which
one is in Hounsfield units and the other on a scale of each case's own, and regions of which one holds the
other. Ground glass fades into the lung, looks like vessels and the denser back of a healthy lung, and may
take up little tracer; the heart takes up much of it. Anatomy is drawn relative to the field of view, as that
of the abdominal phantom.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.samples.blob import paint, paint_ribs
from dsdenseunet.data.samples.lung_anatomy import Chest, Tissue, draw_chest
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
from dsdenseunet.tasks import decathlon

# Of the back of a lung above its middle: blood and weight make it denser.
_DEPENDENT_HU = 60.0
# Uptake that scattered rays show everywhere, also in the air.
_SCATTER = 0.03
# Standard deviations of the PET's blur, as a share of the field of view, and of its noise, at an uptake of 1.
_PET_BLUR, _PET_NOISE = 0.008, 0.15


@dataclasses.dataclass(frozen=True, eq=False)
class LungPhantom:
    """A synthetic case.

    Attributes:
        ct_DHW: int16 Hounsfield units, canonical.
        pet_DHW: int16 Bq/mL, at least 0.
        labels_DHW: uint8, 0 background, 1 lung, 2 lesion.
        spacing_mm: (D, H, W).
        axcodes: the axis directions that its files are written with.
    """

    ct_DHW: np.ndarray
    pet_DHW: np.ndarray
    labels_DHW: np.ndarray
    spacing_mm: nifti.Spacing
    axcodes: str


def make_lung_phantom(seed: int, index: int, size: tuple[int, int, int] = (128, 128, 128)) -> LungPhantom:
    """Draws case `index` of the set `seed`; the same two numbers give the same case.

    Some 40 bytes a voxel are held at the peak.

    Args:
        seed: of the set.
        index: of the case; the last of every five has no lesion.
        size: (D, H, W), each at least 32; D is an upper limit, since thick slices make fewer of them.

    Raises:
        InputError: a side below 32.
    """
    check_size(size)
    rng = np.random.default_rng((seed, index))
    size, spacing_mm = draw_grid(rng, size)
    lesions = 0 if is_healthy(index) else int(rng.integers(2, 10))
    chest = draw_chest(rng, np.array(size) * spacing_mm, spacing_mm, lesions)
    hu, uptake, labels = _render(chest, voxel_centres(size, spacing_mm), spacing_mm)
    ct = scan_ct(rng, hu, chest.noise_hu)
    pet = _scan_pet(rng, uptake, chest.activity, spacing_mm)
    return LungPhantom(ct, pet, labels, spacing_mm, axcodes_of(seed, index))


def write_lung_phantoms(
    out_dir: str | os.PathLike[str],
    cases: int,
    seed: int,
    size: tuple[int, int, int] = (128, 128, 128),
    compressed: bool = False,
    on_case: Callable[[Path], None] = lambda path: None,
) -> list[Path]:
    """Writes `imagesTr/lung_N_0000` (CT) and `_0001` (PET), `labelsTr/lung_N`, and at last `dataset.json`.

    Args:
        out_dir: folder of the data set.
        cases: how many.
        seed: of the set.
        size: as of `make_lung_phantom`.
        compressed: .nii.gz in place of .nii.
        on_case: called with the path of each label file.

    Returns:
        Paths of the label files.

    Raises:
        InputError: fewer than one case, a side below 32, or a file of such a name that is another one.
    """
    check_cases(cases)
    check_size(size)
    out, ending = Path(out_dir), ".nii.gz" if compressed else ".nii"
    description = _description(cases, ending)
    if (out / decathlon.FILE).exists() and files.read_json(out / decathlon.FILE) != description:
        raise InputError(
            out / decathlon.FILE,
            found="the description of another data set",
            expected="a folder without one",
            fix="choose another --out",
        )
    paths = []
    for index in range(cases):
        phantom = make_lung_phantom(seed, index, size)
        path = out / "labelsTr" / f"lung_{index:03d}{ending}"
        for target, array_DHW in (
            (path, phantom.labels_DHW),
            (out / "imagesTr" / f"lung_{index:03d}_0000{ending}", phantom.ct_DHW),
            (out / "imagesTr" / f"lung_{index:03d}_0001{ending}", phantom.pet_DHW),
        ):
            write(target, array_DHW, phantom.spacing_mm, phantom.axcodes)
        paths.append(path)
        on_case(path)
    files.write_json(out / decathlon.FILE, description)
    return paths


def _description(cases: int, ending: str) -> dict[str, Any]:
    """What dataset.json says, in nnU-Net's form: the lung is whole with its lesions."""
    return {
        "name": "LungPhantom",
        "description": "Synthetic chests with lesions as of COVID-19; no patient is in them.",
        "channel_names": {"0": "CT", "1": "PET"},
        "labels": {"background": 0, "lung": [1, 2], "lesion": 2},
        "regions_class_order": [1, 2],
        "numTraining": cases,
        "file_ending": ending,
    }


def _render(
    chest: Chest, mm: list[np.ndarray], spacing_mm: nifti.Spacing
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hounsfield units, uptake and labels of a volume with voxel centres at `mm`."""
    shape = tuple(len(axis) for axis in mm)
    hu = np.full(shape, -1000, np.float32)
    uptake = np.full(shape, _SCATTER, np.float32)
    cavity, lung, lesion = (np.zeros(shape, np.float32) for _ in range(3))

    def put(tissue: Tissue, inside: np.ndarray | None = None, onto: np.ndarray | None = None) -> None:
        paint(hu, tissue.blob, mm, spacing_mm, inside, onto)
        paint(uptake, dataclasses.replace(tissue.blob, value=tissue.uptake), mm, spacing_mm, inside)

    for tissue in chest.wall:
        put(tissue)
    paint_ribs(hu, mm, chest.half_mm)
    put(chest.cavity, onto=cavity)
    for tissue in chest.lungs:
        put(tissue, inside=cavity, onto=lung)
    hu -= lung * _DEPENDENT_HU * (mm[1] / chest.half_mm[1])[:, None]
    for tissue in chest.organs:
        put(tissue)
        paint(lung, dataclasses.replace(tissue.blob, value=0.0), mm, spacing_mm)
    for tissue in chest.ground_glass:
        put(tissue, inside=lung, onto=lesion)
    for tissue in chest.vessels:
        put(tissue, inside=lung)
    for tissue in chest.consolidations:
        put(tissue, inside=lung, onto=lesion)
    labels = (lung >= 0.5).astype(np.uint8)
    labels[lesion >= 0.5] = 2
    return hu, uptake, labels


def _scan_pet(
    rng: np.random.Generator, uptake_DHW: np.ndarray, activity: float, spacing_mm: nifti.Spacing
) -> np.ndarray:
    """What a PET shows: blurred alike along every axis, with noise that grows with the root of the counts."""
    sigma = _PET_BLUR * uptake_DHW.shape[2] * spacing_mm[2] / np.asarray(spacing_mm)
    blurred = ndimage.gaussian_filter(uptake_DHW, sigma)
    noise = ndimage.gaussian_filter(rng.standard_normal(blurred.shape, dtype=np.float32), sigma)
    noise *= _PET_NOISE / max(float(noise.std()), 1e-6)
    seen = activity * (blurred + np.sqrt(blurred) * noise)
    return np.clip(np.rint(seen), 0, np.iinfo(np.int16).max).astype(np.int16)
