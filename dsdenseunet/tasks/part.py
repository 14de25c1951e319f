"""A task made of some regions of another one: what one stage of a cascade segments.

Its classes are named after the regions, by which they are found in the labels that there are, and put
together again in a prediction.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.tasks.task import Region, Task


def part_of(task: Task, regions: Sequence[str]) -> Task:
    """A task whose classes are background and some regions of `task`, each a region by itself.

    Nothing is cleaned up; all of the regions pick the best weights; cases are dealt by the whole task.
    """
    return dataclasses.replace(
        task,
        name=f"{task.name}: {', '.join(regions)}",
        classes=(task.classes[0], *regions),
        regions=tuple(Region(name, (label,)) for label, name in enumerate(regions, 1)),
        stratify_by="",
        select_by=tuple(regions),
        detect=tuple(name for name in task.detect if name in regions),
        clean_up=(),
    )


def label_table(part: Task, whole: Task) -> NDArray[np.uint8]:
    """(256,): the part's label for each label of the whole task.

    Where regions overlap, the last class of the part counts: of liver and tumour, a voxel of a tumour is
    tumour. The ignored label stays.
    """
    table = np.zeros(256, np.uint8)
    for label, name in enumerate(part.classes[1:], 1):
        table[list(whole.region(name).labels)] = label
    if whole.ignore_label >= 0:
        table[whole.ignore_label] = whole.ignore_label
    return table


def paint(
    labels_DHW: NDArray[np.uint8],
    box: tuple[slice, ...],
    found_DHW: NDArray[np.uint8],
    part: Task,
    whole: Task,
    within: str,
) -> None:
    """Writes what a stage says of its regions into the labels of the whole task, in place of what they were.

    A region gets the first of its labels. What is a part of the region that the stage looks within stays
    inside it, unless the stage segments that region anew: tumours within a liver are part of it.

    Args:
        labels_DHW: of the whole task; changed.
        box: the voxels that the stage has looked at.
        found_DHW: what it says of them, in its own labels.
        part: its task.
        whole: the whole task.
        within: the region that the box is around; "": none.
    """
    around = whole.region(within) if within and within not in part.classes else None
    inside = around.mask(labels_DHW[box]) if around else None
    regions = [whole.region(name) for name in part.classes[1:]]
    held = [around is not None and set(region.labels) < set(around.labels) for region in regions]
    for region, is_held in zip(regions, held, strict=True):
        erased = region.mask(labels_DHW)
        labels_DHW[erased] = around.labels[0] if around and is_held else 0
    for label, (region, is_held) in enumerate(zip(regions, held, strict=True), 1):
        mine = found_DHW == label
        labels_DHW[box][mine & inside if is_held else mine] = region.labels[0]
