"""Tiny labelled scans whose fingerprint can be told by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np


def write_case(
    folder: Path, name: str, image: np.ndarray, labels: np.ndarray, spacing_mm: Sequence[float] = (1, 1, 1)
) -> None:
    """A case in the Decathlon's folders; arrays are (x, y, z), several channels are a fourth axis."""
    affine = np.diag([*spacing_mm, 1.0])
    for kind, array in (("imagesTr", image), ("labelsTr", labels)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(array, affine), folder / kind / f"{name}.nii.gz")


def describe(folder: Path, channels: Sequence[str], labels: Sequence[str], name: str = "Toy") -> Path:
    """Writes dataset.json and returns its folder."""
    values = {
        "name": name,
        "modality": {str(n): channel for n, channel in enumerate(channels)},
        "labels": {str(n): label for n, label in enumerate(labels)},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(values))
    return folder


def write_boxes(folder: Path, cases: int = 4, shape: Sequence[int] = (16, 20, 24)) -> Path:
    """MR of one channel: label 1 is a box with label 2 inside it, brighter than noise; no 2 in case 0."""
    rng = np.random.default_rng(0)
    for number in range(cases):
        labels = np.zeros(shape, np.uint8)
        labels[4:12, 5:13, 6:14] = 1
        if number:
            labels[6:9, 7:10, 8:11] = 2
        image = (100 * labels + rng.normal(0, 10, shape) + 50 * (number + 1)).astype(np.float32)
        # Spacings of 1 mm alone look like those of a header without any.
        write_case(folder, f"toy_{number}", image, labels, (1, 1, 1.5))
    return describe(folder, ["MRI"], ["background", "Shell", "Core"])
