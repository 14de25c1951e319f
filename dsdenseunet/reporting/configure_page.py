"""The page of a config that `experiments.configure` wrote: the data, what was chosen, and why."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsdenseunet.core.words import counted
from dsdenseunet.data.scans import walk
from dsdenseunet.reporting import fingerprint_figures as figures
from dsdenseunet.reporting import html, pictures
from dsdenseunet.reporting.pictures import Picture

# Which picture stands beside which choice.
_BESIDE = {"patch and batch": ("sizes", "memory"), "oversampling": ("classes",)}


def write_configure_page(path: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
    """Writes the page.

    Args:
        path: of the page; its pictures are inside.
        record: as the command's JSON has it.
    """
    chosen = {choice["title"]: choice for choice in record["choices"]}
    patch = chosen["patch and batch"]["settings"]["data.patch_size"]
    with tempfile.TemporaryDirectory() as folder:

        def draw(name: str, title: str, figure: Any, *arguments: Any) -> Picture:
            return pictures.draw(Path(folder) / f"{name}.png", title, functools.partial(figure, *arguments))

        drawn = {
            "sizes": draw(
                "sizes", "Sides of images and of regions, and spacing", figures.sizes_figure, record, patch
            ),
            "classes": draw("classes", "Share of each class", figures.classes_figure, record),
        }
        if len(record["memory"]["rows"]) > 1:
            drawn["memory"] = draw(
                "memory", "Memory of a training step", figures.memory_figure, record["memory"]
            )
        channels = record["task"]["channels"]
        intensities = [
            draw(
                f"channel{number}",
                f"Intensities, {name}",
                *(figures.intensities_figure, record, number),
                numbers if kind == "window" else (),
            )
            for number, (name, kind, *numbers) in enumerate(channels)
        ]
    beside = {title: [drawn[name] for name in names if name in drawn] for title, names in _BESIDE.items()}
    beside["normalisation"] = intensities
    html.write_page(
        path,
        "configure.html",
        title=f"{record['task']['name']}: {record['config']}.py",
        lead=f"{counted(len(record['cases']), 'labelled case')} of {record['data']}, and what was chosen.",
        notes=record["notes"],
        figures=_figures(record, patch),
        choices=[
            {**choice, "pictures": beside.get(choice["title"], []), "lines": _lines(choice["settings"])}
            for choice in record["choices"]
        ],
        regions=_regions(record),
        cases=_cases(record),
        passed_over=walk.describe(walk.from_json(record["passed_over"])),
    )


def _figures(record: Mapping[str, Any], patch: list[int]) -> list[tuple[str, str]]:
    """The large numbers on top: number and what it is."""
    summary, memory = record["summary"], record["memory"]
    needs = f"{memory['chosen']['memory']['total'] / 2**30:.2f} GiB" if memory["checked"] else "not checked"
    of = f"of {memory['available_gib']:.2f} on the {memory['card']}" if memory["checked"] else "memory"
    if memory["checked"] and memory["is_estimate"]:
        of += ", an estimate by the CPU's compiler"
    return [
        (_by(summary["shape"]["median"]), "voxels of the median image, D x H x W"),
        (_by(summary["spacing_mm"]["median"]), "mm, the median spacing"),
        (_by(patch), "voxels of a patch"),
        (needs, of),
    ]


def _by(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.3g}" for value in values)


def _lines(settings: Mapping[str, Any]) -> list[str]:
    """A field a line; those of `config.model` one by one."""
    flat: dict[str, Any] = {}
    for field, value in settings.items():
        if isinstance(value, Mapping):
            flat |= {f"{field}.{name}": one for name, one in value.items()}
        else:
            flat[field] = value
    return [f"{field} = {value!r}" for field, value in flat.items()]


def _regions(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows: region, cases that have it, median box, pieces, least share of the largest piece."""
    rows: list[tuple[str, ...]] = []
    for name, found in record["summary"]["regions"].items():
        if not found["cases"]:
            rows.append((name, "0", "-", "-", "-"))
            continue
        share = f"{100 * found['least_largest_share']:.4g} %"
        rows.append(
            (name, str(found["cases"]), _by(found["median_sides"]), f"{found['median_pieces']:g}", share)
        )
    return rows


def _cases(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows: case, shape, spacing, orientation, mL of each region."""
    rows = []
    for case in record["cases"]:
        d, h, w = case["spacing_mm"]
        volumes = [
            f"{case['regions'][name]['voxels'] * d * h * w / 1000:.1f}" if name in case["regions"] else "-"
            for name in record["summary"]["regions"]
        ]
        rows.append((case["name"], _by(case["shape"]), _by(case["spacing_mm"]), case["axes"], *volumes))
    return rows
