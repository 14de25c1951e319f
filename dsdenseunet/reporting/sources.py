"""Where a report's data come from, in the words that the report must carry."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class DataSource:
    """What the numbers of a report were measured on.

    Attributes:
        kind: one word, for file names.
        name: a few words.
        description: a sentence or two: what it is and how it was split.
        attribution: who made it, under which licence.
        warning: (title, text) to be shown above everything else; None for real data.
    """

    kind: str
    name: str
    description: str
    attribution: str
    warning: tuple[str, str] | None = None


SAMPLE = DataSource(
    kind="sample",
    name="LiTS case 117",
    description=(
        "Case 117 of the Liver Tumor Segmentation Benchmark (LiTS): a real portal venous CT with its "
        "expert's labels, cropped to 128 x 128 x 128 voxels around the liver; no spacing is stored, "
        "1 mm is assumed. "
        "Cut along the axial axis, from the feet up: 64 slices for training, 16 for validation, 48 held out. "
        "The three parts are of one patient, so the held-out scores say little about other patients."
    ),
    attribution=(
        "LiTS (Bilic et al., The Liver Tumor Segmentation Benchmark, Medical Image Analysis 84, 2023), "
        "licensed CC BY-NC-SA 4.0 (CC BY-NC-ND in other copies). Taken from the PyPI package "
        "liver-ct-segmentation-package 1.6.0, which is read and never installed. For research only."
    ),
)

PHANTOM = DataSource(
    kind="phantom",
    name="a phantom",
    description=(
        "Synthetic CTs made by this program: three phantoms, one each for training, validation and held out. "
        "No patient is in them."
    ),
    attribution="Made by this program; free of rights.",
    warning=(
        "These are not real CTs",
        "The real sample could not be downloaded from the package index, so synthetic phantoms were used. "
        "The scores below say that the chain of programs works, and nothing about real scans.",
    ),
)
