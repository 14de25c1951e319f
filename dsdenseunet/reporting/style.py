"""Colours of all pictures but for those of regions, and how a picture is saved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dsdenseunet.core import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of a run's phases in their order, then from the first again.
PHASE_COLOURS = ("#1c7ed6", "#7048e8", "#f08c00", "#0c8599")
INK, GREY, FAINT = "#212529", "#868e96", "#dee2e6"
DOTS_PER_INCH = 150


def plain(axis: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """No frame and no ticks, but a faint grid, along one axis or both."""
    axis.grid(axis=grid, color=FAINT, linewidth=0.6)
    axis.tick_params(colors=GREY, length=0)
    for side in axis.spines.values():
        side.set_visible(False)


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure as PNG or, by the name's ending, as PDF; whole or not at all."""
    # Here, as a training draws in these colours without it, and its import takes longer than that drawing.
    import matplotlib

    kind = Path(path).suffix.removeprefix(".")
    # Equal pictures are equal files, and text in a PDF stays text.
    undated = {"CreationDate": None} if kind == "pdf" else None
    with files.atomic_path(path) as temporary, matplotlib.rc_context({"pdf.fonttype": 42}):
        figure.savefig(temporary, dpi=DOTS_PER_INCH, facecolor="white", format=kind, metadata=undated)
