"""A cache for one stage of a cascade: of each case what the stage looks at, its labels those of the stage.

It is made from the cache of the whole task, and is an ordinary one to everything else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data import manifest
from dsdenseunet.data.boxes import Box, bounding_box, grown
from dsdenseunet.data.cache import Cache, CachedCase
from dsdenseunet.tasks.part import label_table
from dsdenseunet.tasks.task import Task

# What it was made from, and how.
ORIGIN = "origin.json"
# Of the arrays: another one makes them anew.
_VERSION = 1
_EVERYTHING: Box = (slice(None), slice(None), slice(None))


def derive(
    whole: Cache, root: Path, names: Sequence[str], part: Task, task: Task, within: str, margin_mm: float
) -> Cache:
    """The stage's cache in `root`, made unless it is there as it would be made now.

    Images that stay whole are hard links where the file system has them, so that they take no room.

    Args:
        whole: the cache of the whole task.
        root: folder of the stage's; what is in it is replaced.
        names: the cases.
        part: the stage's task, whose classes are regions of `task`.
        task: the whole task.
        within: the region whose box the stage looks at, by the labels that there are; "": the whole case. A
            case without the region is left out.
        margin_mm: around the box, on each side.

    Raises:
        InputError: no case has the region.
    """
    origin: dict[str, Any] = {
        "version": _VERSION,
        "cases": {name: whole.record(name).sha256 for name in names},
        "classes": {name: task.region(name).labels for name in part.classes[1:]},
        "within": task.region(within).labels if within else (),
        "margin_mm": margin_mm,
        "task": part.to_config(),
    }
    origin = json.loads(json.dumps(origin))
    if (root / ORIGIN).exists() and files.read_json(root / ORIGIN) == origin:
        return Cache.open(root)
    for outdated in (root, *root.parent.glob(".partial-*")):
        shutil.rmtree(outdated, ignore_errors=True)
    # Statistics of cases are as they were prepared.
    held = dataclasses.replace(part, channels=whole.task.channels)
    table = label_table(part, task)
    with files.new_folder(root) as folder:
        records = {}
        for name in names:
            case = whole.case(name)
            if box := _box(case, task, within, margin_mm):
                records[name] = _write(folder, case, whole, box, table, len(part.classes))
        if not records:
            raise InputError(
                whole.root,
                found=f"{within} in none of {len(names)} cases",
                expected="some cases with the region that a stage looks within",
                fix="correct config.stages, or prepare cases that have it",
            )
        manifest.write_manifest(folder, records, held)
        files.write_json(folder / ORIGIN, origin)
    return Cache.open(root)


def _box(case: CachedCase, task: Task, within: str, margin_mm: float) -> Box | None:
    if not within:
        return _EVERYTHING
    box = bounding_box(task.region(within).mask(case.labels_DHW))
    return box and grown(box, margin_mm, case.labels_DHW.shape, case.spacing_mm)


def _write(
    folder: Path, case: CachedCase, whole: Cache, box: Box, table: np.ndarray, classes: int
) -> manifest.Record:
    labels_DHW = table[case.labels_DHW[box]]
    counts_DC = np.stack(
        [np.bincount(plane.ravel(), minlength=classes)[:classes] for plane in labels_DHW]
    ).astype(np.int64)
    (folder / case.name).mkdir()
    arrays = {"image": case.image_DHW[box], "labels": labels_DHW, "counts": counts_DC}
    hashes = {}
    for name, array in arrays.items():
        path = manifest.array_path(folder, case.name, name)
        if name == "image" and box == _EVERYTHING and _linked(whole, case.name, path):
            hashes[name] = whole.record(case.name).sha256[name]
            continue
        with path.open("wb") as stream:
            np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
        hashes[name] = files.sha256(path)
    return dataclasses.replace(
        whole.record(case.name),
        shape=labels_DHW.shape,
        label_counts=tuple(int(count) for count in counts_DC.sum(axis=0)),
        sha256=hashes,
    )


def _linked(whole: Cache, name: str, path: Path) -> bool:
    """Whether a whole image can be had without a copy."""
    with contextlib.suppress(OSError):
        os.link(manifest.array_path(whole.root, name, "image"), path)
    return path.exists()
