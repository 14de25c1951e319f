"""All sections as one self-contained page and as pictures, PNG for looking and PDF for printing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

from dsdenseunet.reporting import html, pictures, results
from dsdenseunet.reporting.reproduction import epoch_times, methods, parameters, runs
from dsdenseunet.reporting.reproduction.section import Record, Section

PAGE = "reproduction.html"
# In the paper's order.
SECTIONS: Mapping[str, Callable[[Record], Section]] = {
    "figure2": runs.loss,
    "table1": methods.table,
    "figure3": functools.partial(methods.figure, 3, "liver"),
    "figure4": functools.partial(methods.figure, 4, "tumour"),
    "figure5": runs.overlay,
    "table2": epoch_times.section,
    "table3": parameters.section,
}


def write_page(out: Path, records: Mapping[str, Record]) -> tuple[Path, dict[str, Section]]:
    """Draws every figure and writes the page.

    A picture that cannot be drawn is replaced by a sentence that says why.

    Args:
        out: folder for `reproduction.html` and, for each figure, `NAME.png` and `NAME.pdf`.
        records: of `experiments.reproduce`, by item.

    Returns:
        The page's path, and the sections by item, in the paper's order.

    Raises:
        InputError: a record that lacks something.
    """
    sections = {}
    for item, make in SECTIONS.items():
        if item in records:
            with results.complete(out / f"{item}.json", "remove the file, or make it again"):
                sections[item] = make(records[item])
    drawn = {
        item: [
            pictures.draw_both(out / drawing.name, drawing.title, drawing.figure) for drawing in one.drawings
        ]
        for item, one in sections.items()
    }
    html.write_page(
        out / PAGE,
        "reproduction.html",
        title="The paper's tables and figures, beside ours",
        lead=(
            "Alalwan et al., Efficient 3D Deep Learning Model for Medical Image Semantic Segmentation, "
            "Alexandria Engineering Journal 60, 2021. Every number of ours is computed or measured by the "
            "command beside it."
        ),
        sections=[(one, drawn[item]) for item, one in sections.items()],
    )
    return out / PAGE, sections
