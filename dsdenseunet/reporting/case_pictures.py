"""The best, the median and the worst case of an evaluation on their CTs, as they were scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti
from dsdenseunet.reporting import overlays, pictures
from dsdenseunet.reporting.pictures import Picture
from dsdenseunet.reporting.results import finite

CaseRow = Mapping[str, str]
Paths = Mapping[str, str | None]
# Which case is best or worst is decided by this one.
RANKED_BY = "lesion_dice_per_case"
SLICES = 2


@dataclasses.dataclass(frozen=True)
class Choice:
    """A case to show: its place among all, its name, its score, whether its prediction was turned."""

    rank: str
    case: str
    dice: float
    turned: bool


def choose(cases: Sequence[CaseRow]) -> list[Choice]:
    """The best, the median and the worst of some cases, each once.

    Args:
        cases: rows of cases.csv, all of one mode.

    Raises:
        KeyError: a column is missing.
        ValueError: a score is no number.
    """
    ranked = sorted(cases, key=lambda row: finite(row[RANKED_BY]))
    if not ranked:
        return []
    chosen: dict[str, Choice] = {}
    for rank, row in (("best", ranked[-1]), ("median", ranked[len(ranked) // 2]), ("worst", ranked[0])):
        choice = Choice(rank, row["case"], finite(row[RANKED_BY]), row["turned"] == "True")
        chosen.setdefault(choice.case, choice)
    return list(chosen.values())


def draw(out: Path, choice: Choice, paths: Paths) -> Picture:
    """The picture of a case.

    Args:
        out: folder for the PNG file.
        choice: the case.
        paths: its files, as scores.json names them.
    """
    title = f"{choice.rank}: {choice.case}, tumour Dice {choice.dice:.3f}"
    path = out / f"overlay_{choice.rank}.png"
    return pictures.draw(path, title, lambda: _figure(paths, choice.turned, title))


def _figure(paths: Paths, turned: bool, title: str) -> Figure:
    image = nifti.read_image(paths["image"] or "")
    truth, prediction = scored_labels(image.grid, paths["reference"] or "", paths["prediction"] or "", turned)
    if truth.shape != image.array_DHW.shape:
        raise InputError(
            paths["image"] or "",
            found=f"{' x '.join(map(str, image.array_DHW.shape))} voxels",
            expected=f"the {' x '.join(map(str, truth.shape))} of {paths['reference']}",
            fix="name the folder of the CTs that belong to the references with --images",
        )
    slices = overlays.choose_slices(truth, SLICES)
    return overlays.overlay_figure(image.array_DHW, truth, prediction, image.spacing_mm, slices, title=title)


def scored_labels(
    image: nifti.Grid, reference: str, prediction: str, turned: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Reference and prediction as they were compared, in canonical form.

    The reference belongs to its CT voxel by voxel or, where it is stored along other axes, by its header.

    Args:
        image: grid of the CT.
        reference: file of the reference.
        prediction: file of the prediction.
        turned: whether it was turned onto the reference's axes by its header, or compared as it is stored.

    Raises:
        InputError: a file that can't be read.
    """
    truth, answer = nifti.read_labels(reference), nifti.read_labels(prediction)
    truth_IJK = truth.grid.from_canonical(truth.array_DHW)
    answer_IJK = (truth.grid if turned else answer.grid).from_canonical(answer.array_DHW)
    grid = image if image.shape_IJK == truth.grid.shape_IJK else truth.grid
    return grid.to_canonical(truth_IJK), grid.to_canonical(answer_IJK)
