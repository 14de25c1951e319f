"""Names and colours of a task's labels, for the programs that predictions are opened in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dsdenseunet.core import files
from dsdenseunet.tasks.colours import class_colours
from dsdenseunet.tasks.task import Task

# Of 3D Slicer and of ITK-SNAP.
SLICER, ITK_SNAP = "labels.ctbl", "labels.itksnap.txt"


def write(folder: Path, task: Task) -> None:
    """Writes a colour table for 3D Slicer and label descriptions for ITK-SNAP, unless they are there.

    Args:
        folder: of the predictions.
        task: whose labels they are; colours are those of pictures and pages.
    """
    colours = ((0, 0, 0), *map(_rgb, class_colours(task)))
    for name, table in ((SLICER, _slicer), (ITK_SNAP, _itk_snap)):
        if not (folder / name).exists():
            files.write_text(folder / name, table(task.classes, colours))


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return red, green, blue


def _slicer(names: Sequence[str], colours: Sequence[tuple[int, int, int]]) -> str:
    lines = ["# Label, name, red, green, blue, opacity"]
    for label, (name, (red, green, blue)) in enumerate(zip(names, colours, strict=True)):
        lines.append(f"{label} {'_'.join(name.split())} {red} {green} {blue} {255 if label else 0}")
    return "\n".join(lines) + "\n"


def _itk_snap(names: Sequence[str], colours: Sequence[tuple[int, int, int]]) -> str:
    lines = ["# ITK-SNAP Label Description File", "# label, red, green, blue, opacity, visible, mesh, name"]
    for label, (name, (red, green, blue)) in enumerate(zip(names, colours, strict=True)):
        shown = min(label, 1)
        quoted = name.replace('"', "'")
        lines.append(f'{label} {red} {green} {blue} {shown} {shown} {shown} "{quoted}"')
    return "\n".join(lines) + "\n"
