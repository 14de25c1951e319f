"""Colours of what is segmented: pictures, pages and DICOM segmentations show them alike."""

from __future__ import annotations

from dsdenseunet.tasks.task import Task

# Of regions, in the task's order, again from the first where there are more.
COLOURS = ("#2fb344", "#e03131", "#1c7ed6", "#f59f00", "#ae3ec9", "#0ca678")


def class_colours(task: Task) -> tuple[str, ...]:
    """The colour of each class but background: that of the last region that it belongs to, as in pictures.

    A class of no region has the next colours that are free.
    """
    found = []
    for label in range(1, len(task.classes)):
        numbers = [number for number, region in enumerate(task.regions) if label in region.labels]
        number = numbers[-1] if numbers else len(task.regions) + label
        found.append(COLOURS[number % len(COLOURS)])
    return tuple(found)
