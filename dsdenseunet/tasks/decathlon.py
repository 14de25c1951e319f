"""The task that a data set of the Medical Segmentation Decathlon describes in its own dataset.json.

The newer form that nnU-Net writes (`channel_names`, labels by name) is read as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from ml_collections import ConfigDict

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import some
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.channel import Channel
from dsdenseunet.tasks.task import Region, Task

FILE = "dataset.json"
# Of soft tissue in the abdomen, for most of the Decathlon's CTs; a config can set another one.
_CT_WINDOW = (-200.0, 250.0)
_FOLDERS = {"image": "imagesTr", "label": "labelsTr"}


def task_of(folder: str | os.PathLike[str], config: ConfigDict | None = None) -> Task:
    """The task that a command works on: the config's, if one is given; else the data set's own.

    That is the one of the dataset.json in its folder or the folder above, and LiTS where there is none. The
    Decathlon's own liver data are LiTS.

    Args:
        folder: of the data set, or of its labels.
        config: an experiment's.

    Raises:
        InputError: as `Task.of` and `read_task`.
    """
    if config:
        return Task.of(config.task)
    for candidate in (Path(folder), Path(folder).absolute().parent):
        if (candidate / FILE).is_file():
            return read_task(candidate)
    return lits.TASK


def read_task(folder: str | os.PathLike[str]) -> Task:
    """The task that `folder`/dataset.json describes: a region for each class, all beside each other.

    CT is windowed, every other modality z-scored over the case.

    Raises:
        InputError: no such file, one that describes no task, or one that contradicts the files beside it.
    """
    path = Path(folder) / FILE
    values = files.read_json(path)
    if not isinstance(values, dict):
        _refuse(
            path, f"{type(values).__name__} in place of the fields", "name, labels, modality and training"
        )
    classes = tuple(_by_number(path, "labels", values.get("labels")))
    names = tuple(_by_number(path, "modality", values.get("modality", values.get("channel_names"))))
    _check_files(path, values)
    channels = tuple(
        Channel(name, "window", _CT_WINDOW) if name.upper() == "CT" else Channel(name, "zscore")
        for name in names
    )
    if classes in (lits.TASK.classes, lits.DECATHLON_CLASSES) and len(channels) == 1:
        return lits.TASK
    regions = tuple(Region(name, (label,)) for label, name in enumerate(classes) if label)
    task = Task(
        name=str(values.get("name") or path.absolute().parent.name),
        classes=classes,
        regions=regions,
        channels=channels,
        ignore_label=-1,
        stratify_by="",
        select_by=tuple(region.name for region in regions),
        detect=(),
        clean_up=(),
    )
    return Task.of(task.to_config(), str(path))


def _by_number(path: Path, field: str, found: Any) -> list[str]:
    """Names in the order of their numbers, which run from 0 without gaps; labels as they may be called."""
    expected = f"names by number, from 0 without gaps, as {field}"
    if not isinstance(found, Mapping) or not found:
        _refuse(path, f"{field}: {found!r}", expected)
    pairs = [(key, value) if str(key).isdecimal() else (value, key) for key, value in found.items()]
    try:
        names = {int(number): str(name) for number, name in pairs}
    except (TypeError, ValueError):
        _refuse(
            path, f"{field}: {dict(found)!r}", f"{expected}; regions of several labels belong in a config"
        )
    if sorted(names) != list(range(len(pairs))):
        _refuse(path, f"{field} with the numbers {', '.join(map(str, sorted(names)))}", expected)
    ordered = [names[number] for number in range(len(names))]
    return ordered if field != "labels" else [_as_name(name, label) for label, name in enumerate(ordered)]


def _as_name(name: str, label: int) -> str:
    """A class's name in the form that regions have: small letters, digits, - and _."""
    word = re.sub(r"[^a-z0-9-]+", "_", name.lower()).strip("_-")
    return word if word[:1].isalpha() else f"label_{word or label}"


def _check_files(path: Path, values: Mapping[str, Any]) -> None:
    """Refuses a list of training cases that is not what lies beside it."""
    listed = values.get("training")
    if listed is None:
        return
    entries = listed if isinstance(listed, list) else [listed]
    if not all(isinstance(entry, dict) and set(_FOLDERS) <= set(entry) for entry in entries):
        _refuse(path, "training cases without image or label", "both of each case")
    number = values.get("numTraining", len(entries))
    if number != len(entries):
        _refuse(path, f"numTraining {number}, and {len(entries)} training cases", "the same number")
    missing = [
        str(entry[kind])
        for entry in entries
        for kind in _FOLDERS
        if not (path.parent / str(entry[kind])).is_file()
    ]
    if missing:
        _refuse(
            path,
            f"training files that are not there: {some(missing)}",
            "every file that it lists",
            "restore the files, or take their cases out of it (and correct numTraining)",
        )
    names = {kind: {Path(str(entry[kind])).name for entry in entries} for kind in _FOLDERS}
    for kind, folder in _FOLDERS.items():
        inside = (path.parent / folder).glob("[!.]*")
        there = {file.name for file in inside if file.name.lower().endswith((".nii", ".nii.gz"))}
        if others := sorted(there - names[kind]):
            _refuse(
                path,
                f"files in {folder} that it does not list: {some(others)}",
                "a list of all training cases",
                "add them to it (and correct numTraining), or move them elsewhere",
            )


def _refuse(path: Path, found: str, expected: str, fix: str = "") -> NoReturn:
    raise InputError(
        path, found=found, expected=expected, fix=fix or "correct it, or get the data set's own again"
    )
