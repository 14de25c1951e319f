"""Time and memory that scoring one large pair takes, measured in a process of its own on one core."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.data.scans import nifti
from dsdenseunet.evaluation.pairing import FilePair
from dsdenseunet.evaluation.reading import LIBRARIES, score_files
from dsdenseunet.runtime import environment
from experiments.benchmarks.measuring.peak_memory import peak_bytes

SPACING_MM = (1.0, 0.7, 0.7)
# Share of the volume's sides that the liver takes, and of lesions that the prediction has.
_LIVER = (0.45, 0.45, 0.6)
_FOUND = 0.85


def write_pair(folder: Path, size: tuple[int, int, int], lesions: int, seed: int) -> FilePair:
    """Writes a liver with ellipsoid lesions and an imperfect prediction of both as .nii.

    Args:
        folder: for `reference/segmentation-0.nii` and `prediction/segmentation-0.nii`.
        size: (D, H, W) voxels.
        lesions: how many in the reference; 15 % of them are missed, and the prediction has others.
        seed: of the drawing.
    """
    rng = np.random.default_rng(seed)
    reference, prediction = np.zeros((2, *size), np.uint8)
    centre, radii = np.array(size) / 2, np.array(size) * _LIVER / 2
    _paint(reference, centre, radii, 1)
    _paint(prediction, centre + rng.uniform(-3, 3, 3), radii * rng.uniform(0.97, 1.02, 3), 1)
    step = _grid_step(radii, lesions)
    places = _places(radii, step)
    rng.shuffle(places)
    for number, place in enumerate(places[: lesions + lesions // 10]):
        radius = float(np.exp(rng.uniform(np.log(2), np.log(step * 0.4))))
        at = centre + place
        if number < lesions:
            _paint(reference, at, np.full(3, radius), 2)
        if number >= lesions or rng.random() < _FOUND:
            _paint(prediction, at + rng.uniform(-0.3, 0.3, 3) * radius, radius * rng.uniform(0.8, 1.2, 3), 2)
    paths = [folder / kind / "segmentation-0.nii" for kind in ("prediction", "reference")]
    for path, labels in zip(paths, (prediction, reference), strict=True):
        nifti.write_new(path, labels, SPACING_MM, "LPS")
    return FilePair("segmentation-0", *paths)


def measure(pair: FilePair) -> dict[str, Any]:
    """Scores a pair of files in both modes in a fresh process that may use one core.

    Returns:
        `seconds` (reading included), `peak_gib` (resident memory of that process), `lesions` of both sides,
        `environment`.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        result = pool.submit(_measure_here, pair).result()
    return {**result, "environment": environment.describe(LIBRARIES)}


def _measure_here(pair: FilePair) -> dict[str, Any]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    start, cpu = time.perf_counter(), time.process_time()
    scores = score_files(pair).scores
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    records = scores["corrected"].lesion_records
    return {
        "shape": list(scores["corrected"].shape),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "peak_gib": round(peak_bytes() / 2**30, 2),
        "lesions": {side: sum(r.side == side for r in records) for side in ("reference", "prediction")},
    }


def _grid_step(radii: NDArray[np.float64], lesions: int) -> float:
    """Spacing in voxels of a grid that puts more places than needed into the liver."""
    step = float(np.cbrt(4.2 * np.prod(radii) / (1.3 * lesions)))
    while len(_places(radii, step)) < 1.1 * lesions:
        step *= 0.95
    return step


def _places(radii: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Points of a grid that lie well inside an ellipsoid, relative to its centre."""
    axes = [np.arange(-radius, radius, step) + step / 2 for radius in radii]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return points[((points / (0.9 * radii)) ** 2).sum(axis=1) < 1]


def _paint(
    labels: NDArray[np.uint8], centre: NDArray[np.float64], radii: NDArray[np.float64], label: int
) -> None:
    """Paints an ellipsoid, in voxels."""
    low = np.maximum(np.floor(centre - radii).astype(int), 0)
    high = np.minimum(np.ceil(centre + radii).astype(int) + 1, labels.shape)
    box = tuple(slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
    squares = [
        ((np.arange(start, stop, dtype=np.float32) - c) / r) ** 2
        for start, stop, c, r in zip(low, high, centre, radii, strict=True)
    ]
    inside = squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :] <= 1
    labels[box][inside] = label
