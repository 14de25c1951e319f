"""The scanner of the phantoms: the grid that a patient is scanned on, the noise, and the files."""

from __future__ import annotations

import filecmp
import itertools
import tempfile
from pathlib import Path

import numpy as np
from scipy import ndimage

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti, walk

SPACING_IN_PLANE_MM = (0.55, 1.0)
SPACING_SLICES_MM = (0.45, 6.0)
LEAST_SIDE = 32
# One case in this many has no tumour and no lesion (13 of LiTS' 131 have none).
HEALTHY_EVERY = 5
ORIENTATIONS = tuple(
    "".join(pair[flip] for pair, flip in zip(order, flips))
    for order in itertools.permutations(("RL", "AP", "SI"))
    for flips in itertools.product((0, 1), repeat=3)
)


def check_size(size: tuple[int, int, int]) -> None:
    """Raises InputError for a side below 32."""
    if min(size) < LEAST_SIDE:
        raise InputError(
            "size", found=f"{size}", expected=f"sides of at least {LEAST_SIDE}", fix="ask for larger phantoms"
        )


def check_cases(cases: int) -> None:
    """Raises InputError for fewer than one."""
    if cases < 1:
        raise InputError("cases", found=f"{cases}", expected="at least 1", fix="ask for more cases")


def is_healthy(index: int) -> bool:
    """Whether case `index` of a set has nothing to be found: the last of every five."""
    return index % HEALTHY_EVERY == HEALTHY_EVERY - 1


def axcodes_of(seed: int, index: int) -> str:
    """The axis directions of case `index`: all that there are, in an order that the seed draws."""
    order = np.random.default_rng(seed).permutation(len(ORIENTATIONS))
    return ORIENTATIONS[order[index % len(ORIENTATIONS)]]


def draw_grid(
    rng: np.random.Generator, size: tuple[int, int, int]
) -> tuple[tuple[int, int, int], nifti.Spacing]:
    """Spacing within LiTS' range such that the slices cover a trunk, and how many that takes.

    Args:
        rng: that draws.
        size: (D, H, W) voxels, of which D is an upper limit.

    Returns:
        Size and spacing in mm, both (D, H, W).
    """
    in_plane = float(rng.uniform(*SPACING_IN_PLANE_MM))
    wanted_mm = in_plane * max(size[1:]) * float(rng.uniform(0.7, 1.1))
    thinnest = max(SPACING_SLICES_MM[0], 0.6 * wanted_mm / size[0])
    thickest = max(min(SPACING_SLICES_MM[1], wanted_mm / LEAST_SIDE * 2), thinnest)
    between = float(np.exp(rng.uniform(np.log(thinnest), np.log(thickest))))
    depth = int(np.clip(round(wanted_mm / between), min(16, size[0]), size[0]))
    return (depth, size[1], size[2]), (between, in_plane, in_plane)


def voxel_centres(size: tuple[int, int, int], spacing_mm: nifti.Spacing) -> list[np.ndarray]:
    """In mm from the middle of the volume, along each axis."""
    return [(np.arange(side, dtype=np.float32) + 0.5 - side / 2) * mm for side, mm in zip(size, spacing_mm)]


def scan_ct(rng: np.random.Generator, hu_DHW: np.ndarray, noise_hu: float) -> np.ndarray:
    """What a CT shows of exact Hounsfield units, as int16.

    A reconstruction kernel blurs in plane and leaves noise that is correlated there.

    Args:
        rng: that draws the noise.
        hu_DHW: float32.
        noise_hu: its standard deviation.
    """
    noise = rng.standard_normal(hu_DHW.shape, dtype=np.float32)
    for axis in (1, 2):
        hu_DHW = ndimage.gaussian_filter1d(hu_DHW, 0.5, axis, truncate=3)
        noise = ndimage.gaussian_filter1d(noise, 0.6, axis, truncate=3)
    noise *= noise_hu / max(float(noise.std()), 1e-6)
    return np.clip(np.rint(hu_DHW + noise), -1024, 3071).astype(np.int16)


def write(path: Path, array_DHW: np.ndarray, spacing_mm: nifti.Spacing, axcodes: str) -> None:
    """Writes a phantom's file, which may be there already.

    Raises:
        InputError: there is another file of that name: it could be a patient's.
    """
    with tempfile.TemporaryDirectory() as folder:
        new = Path(folder) / path.name
        nifti.write_new(new, array_DHW, spacing_mm, axcodes)
        _refuse_others(path, new)
    nifti.write_new(path, array_DHW, spacing_mm, axcodes)


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
