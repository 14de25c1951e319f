"""Self-contained HTML pages: pictures and styles are inside, nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import html
import os
from pathlib import Path
from typing import Any

import jinja2

from dsdenseunet.core import files

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("dsdenseunet.reporting"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def inline_png(path: str | os.PathLike[str]) -> str:
    """A PNG file as a data URL."""
    return "data:image/png;base64," + base64.b64encode(Path(path).read_bytes()).decode()


def write_page(path: str | os.PathLike[str], template: str, **values: Any) -> None:
    """Fills a template of `reporting/templates` and writes it, whole or not at all.

    All values are escaped; a name that the template uses and `values` lacks is an error.
    """
    files.write_text(path, _ENVIRONMENT.get_template(template).render(**values))


def in_frame(path: str | os.PathLike[str], height_px: int = 720) -> str:
    """A written page within another one, such as a notebook's output: an `iframe` that holds all of it."""
    page = html.escape(Path(path).read_text(encoding="utf-8"))
    style = f"width: 100%; height: {height_px}px; border: 0"
    # Text that begins with the iframe is one that IPython warns of.
    return f'<div><iframe srcdoc="{page}" style="{style}"></iframe></div>'
