"""Pictures of a page. One that cannot be drawn is replaced by a sentence, and the page is written anyway."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from dsdenseunet.core.errors import InputError
from dsdenseunet.reporting import html, style


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture, or why there is none.

    Attributes:
        title: what it shows.
        source: data URL; empty where it could not be drawn.
        fault: why it could not; empty where it could.
        page: name of a page that shows more of it, beside this one; empty where there is none.
    """

    title: str
    source: str
    fault: str
    page: str = ""


def draw(path: Path, title: str, figure: Callable[[], Figure], page: str = "") -> Picture:
    """Draws and saves a figure as PNG; if that fails, an older file of that name is removed.

    Args:
        path: of the PNG file.
        title: what it shows.
        figure: makes the figure, and the page that shows more of it.
        page: the page's name, in the folder of `path`.
    """
    try:
        style.save(figure(), path)
        return Picture(title, html.inline_png(path), "", page)
    except Exception as error:  # decoration
        path.unlink(missing_ok=True)
        if isinstance(error, InputError):
            fault = f"{error.where}: found {error.found}, expected {error.expected}"
        else:
            fault = f"{type(error).__name__}: {error}"
        return Picture(title, "", fault)


def drawn_before(path: Path, title: str) -> Picture:
    """A PNG file that another command has left."""
    if not path.is_file():
        return Picture(title, "", f"{path}: no such file")
    return Picture(title, html.inline_png(path), "")


def draw_both(stem: Path, title: str, figure: Callable[[], Figure]) -> Picture:
    """As `draw`, to `stem`.png, and to `stem`.pdf beside it."""
    made: list[Figure] = []

    def once() -> Figure:
        made.append(figure())
        return made[0]

    picture = draw(stem.with_suffix(".png"), title, once)
    vector = stem.with_suffix(".pdf")
    if picture.source:
        style.save(made[0], vector)
    else:
        vector.unlink(missing_ok=True)
    return picture
