"""The best, the median and the worst case of an evaluation on their images, as they were scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.intensity import with_channels
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.opening import is_segmentation, open_volume
from dsdenseunet.reporting import overlays, pictures
from dsdenseunet.reporting.pictures import Picture
from dsdenseunet.reporting.results import finite
from dsdenseunet.reporting.slices import choose_slices
from dsdenseunet.reporting.viewer import write_viewer
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.task import Task

CaseRow = Mapping[str, str]
Paths = Mapping[str, str | None]
SLICES = 2


@dataclasses.dataclass(frozen=True)
class Choice:
    """A case to show: its place among all, its name, its score, whether its prediction was turned."""

    rank: str
    case: str
    dice: float
    turned: bool


def choose(cases: Sequence[CaseRow], ranked_by: str) -> list[Choice]:
    """The best, the median and the worst of some cases, each once.

    Args:
        cases: rows of cases.csv, all of one mode.
        ranked_by: the column that decides.

    Raises:
        KeyError: a column is missing.
        ValueError: a score is not a number.
    """
    ranked = sorted(cases, key=lambda row: finite(row[ranked_by]))
    if not ranked:
        return []
    chosen: dict[str, Choice] = {}
    for rank, row in (("best", ranked[-1]), ("median", ranked[len(ranked) // 2]), ("worst", ranked[0])):
        choice = Choice(rank, row["case"], finite(row[ranked_by]), row["turned"] == "True")
        chosen.setdefault(choice.case, choice)
    return list(chosen.values())


def draw(out: Path, choice: Choice, paths: Paths, task: Task, region: str) -> Picture:
    """The picture of a case, and beside it the page on which to scroll through it.

    Args:
        out: folder for the PNG and the HTML file.
        choice: the case.
        paths: its files, as scores.json names them.
        task: of the labels.
        region: whose Dice the choice is.
    """
    title = f"{choice.rank}: {choice.case}, {region} Dice {choice.dice:.3f}"
    page = out / f"view_{choice.rank}.html"
    page.unlink(missing_ok=True)

    def figure() -> Figure:
        image, truth_DHW, prediction_DHW = _read(paths, choice.turned, task)
        write_viewer(page, title, image, task, truth_DHW, prediction_DHW)
        return overlays.overlay_figure(
            with_channels(image.array_DHW)[..., 0],
            truth_DHW,
            prediction_DHW,
            image.spacing_mm,
            choose_slices(truth_DHW, SLICES, task.regions),
            task,
            title=title,
        )

    return pictures.draw(out / f"overlay_{choice.rank}.png", title, figure, page.name)


def _read(
    paths: Paths, turned: bool, task: Task
) -> tuple[nifti.Volume, NDArray[np.uint8], NDArray[np.uint8]]:
    # Of channels that are a file each, it is the first one's.
    channels = task.channels[: open_volume(paths["image"] or "", channels=None).channels]
    image = nifti.read_image(paths["image"] or "", channels=channels)
    truth_DHW, prediction_DHW = scored_labels(
        image.grid, paths["reference"] or "", paths["prediction"] or "", turned, task
    )
    shape = image.array_DHW.shape[:3]
    if truth_DHW.shape != shape:
        raise InputError(
            paths["image"] or "",
            found=f"{' x '.join(map(str, shape))} voxels",
            expected=f"the {' x '.join(map(str, truth_DHW.shape))} of {paths['reference']}",
            fix="name the folder of the images that belong to the references with --images",
        )
    return image, truth_DHW, prediction_DHW


def scored_labels(
    image: nifti.Grid, reference: str, prediction: str, turned: bool, task: Task = lits.TASK
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Reference and prediction as they were compared, in canonical form.

    The reference belongs to its image voxel by voxel or, where it is stored along other axes, by its header.

    Args:
        image: its grid.
        reference: file of the reference.
        prediction: file of the prediction.
        turned: whether it was turned onto the reference's axes by its header, or compared as it is stored.
        task: of the labels.

    Raises:
        InputError: a file that can't be read.
    """
    truth, answer = (
        nifti.read_labels(path, task, like=image if is_segmentation(path) else None, with_ignored=True)
        for path in (reference, prediction)
    )
    truth_IJK = truth.grid.from_canonical(truth.array_DHW)
    answer_IJK = (truth.grid if turned else answer.grid).from_canonical(answer.array_DHW)
    grid = image if image.shape_IJK == truth.grid.shape_IJK else truth.grid
    return grid.to_canonical(truth_IJK), grid.to_canonical(answer_IJK)
