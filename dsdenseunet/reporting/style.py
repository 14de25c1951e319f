"""Colours of all pictures, and how a picture is saved."""

from __future__ import annotations

import os

from matplotlib.figure import Figure

from dsdenseunet.core import files

# Of regions, in the task's order, again from the first where there are more.
COLOURS = ("#2fb344", "#e03131", "#1c7ed6", "#f59f00", "#ae3ec9", "#0ca678")
# Of a run's phases in their order, then from the first again.
PHASE_COLOURS = ("#1c7ed6", "#7048e8", "#f08c00", "#0c8599")
INK, GREY, FAINT = "#212529", "#868e96", "#dee2e6"
DOTS_PER_INCH = 150


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure as PNG, whole or not at all."""
    with files.atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, facecolor="white", format="png")
