"""What `prepare` says at its end: a table of the cases, and notes on some of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dsdenseunet.core.words import counted, some
from dsdenseunet.data import patients
from dsdenseunet.data.preparation import Row
from dsdenseunet.tasks.task import Task


def report(rows: Sequence[Row], task: Task) -> str:
    """The table; below it what was assumed of headers, what the cache holds besides, and what failed."""
    text = [table(rows, task)]
    text += [f"{row.name}: NOTE {mark}" for row in rows if row.record for mark in row.record.marks]
    text += _patients({row.name: row.record.patient for row in rows if row.record})
    if pruned := [row.name for row in rows if row.status == "pruned"]:
        text.append(f"taken out of the cache: {counted(len(pruned), 'case')} ({', '.join(pruned)})")
    if others := [row.name for row in rows if row.status == "other"]:
        text.append(
            f"in the cache, but not in this data set: {counted(len(others), 'case')} ({', '.join(others)}); "
            "train uses them too, unless config.data.explicit names others; --prune takes them out"
        )
    held = [row.name for row in rows if row.outdated]
    if held:
        text.append(
            f"outdated in the cache: {counted(len(held), 'case')} ({', '.join(held)}); "
            "train refuses to use them until they are prepared again; --prune takes them out"
        )
    text += [f"\n{row.name}: {row.error}" for row in rows if row.error]
    return "\n".join(text)


def _patients(ids: Mapping[str, str]) -> list[str]:
    """What DICOM says of the cases' patients."""
    scans = {one: [name for name in ids if ids[name] == one] for one in ids.values() if one}
    several = {one: names for one, names in scans.items() if len(names) > 1}
    if not several:
        return []
    if not patients.identified(ids):
        ((one, names),) = several.items()
        return [
            f"NOTE all {len(names)} DICOM cases have the PatientID {one!r}, which says nothing: name each "
            "patient's scans in config.data.same_patient"
        ]
    shown = some([f"{one}: {', '.join(names)}" for one, names in several.items()])
    return [f"several scans of {counted(len(several), 'patient')}, whom folds keep together: {shown}"]


def table(rows: Sequence[Row], task: Task) -> str:
    """What was found, one line per case and one of totals: millilitres are voxels times their volume."""
    lines: list[tuple[str, ...]] = [
        (
            "case",
            "status",
            "shape (D, H, W)",
            "spacing (mm)",
            *(f"{region.name} (mL)" for region in task.regions),
        )
    ]
    for row in rows:
        if row.record is None:
            lines.append((row.name, row.status, *[""] * (2 + len(task.regions))))
            continue
        voxel_ml = math.prod(row.record.spacing_mm) / 1000
        counts = row.record.label_counts
        volumes = [sum(counts[label] for label in region.labels) * voxel_ml for region in task.regions]
        shape = " x ".join(map(str, row.record.shape))
        spacing = " x ".join(f"{side:.2f}" for side in row.record.spacing_mm)
        lines.append((row.name, row.status, shape, spacing, *(f"{volume:.1f}" for volume in volumes)))
    widths = [max(map(len, column)) for column in zip(*lines)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    statuses = [row.status for row in rows]
    text.append(", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses)))
    return "\n".join(text)
