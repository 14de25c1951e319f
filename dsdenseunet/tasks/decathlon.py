"""The task that a data set of the Medical Segmentation Decathlon or of nnU-Net describes in its dataset.json.

nnU-Net's form has `channel_names`, labels by name, and regions: names of several labels, in the order of
`regions_class_order`.
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
_ENDINGS = (".nii.gz", ".nii", ".dcm")
_IGNORE = "ignore"
# nnU-Net's number of a channel, before the ending of a file's name.
_CHANNEL = re.compile(r"_[0-9]{4}(\.nii(?:\.gz)?|\.dcm)$", re.IGNORECASE)


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
    """The task that `folder`/dataset.json describes; where it names no regions, one for each class.

    CT is windowed, a channel called noNorm stays as it is, every other one is z-scored over the case.

    Raises:
        InputError: no such file, one that describes no task, or one that contradicts the files beside it.
    """
    path = Path(folder) / FILE
    values = files.read_json(path)
    if not isinstance(values, dict):
        _refuse(
            path, f"{type(values).__name__} in place of the fields", "name, labels, modality and training"
        )
    classes, regions, ignore_label = _labels(path, values)
    field = "modality" if "modality" in values else "channel_names"
    channels = tuple(map(_channel, _by_number(path, field, values.get(field))))
    _check_files(path, values)
    if classes in (lits.TASK.classes, lits.DECATHLON_CLASSES) and len(channels) == 1:
        return lits.TASK
    task = Task(
        name=str(values.get("name") or path.absolute().parent.name),
        classes=classes,
        regions=regions,
        channels=channels,
        ignore_label=ignore_label,
        stratify_by="",
        select_by=tuple(region.name for region in regions),
        detect=(),
        clean_up=(),
    )
    return Task.of(task.to_config(), str(path))


def _channel(name: str) -> Channel:
    if name.upper() == "CT":
        return Channel(name, "window", _CT_WINDOW)
    return Channel(name, "none" if name.lower() == "nonorm" else "zscore")


def _labels(path: Path, values: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[Region, ...], int]:
    """Classes, regions, and the label that counts nowhere (-1: none), as the field `labels` has them."""
    found = values.get("labels")
    if not isinstance(found, Mapping) or not any(isinstance(labels, list) for labels in found.values()):
        names = [_as_name(name, label) for label, name in enumerate(_by_number(path, "labels", found))]
        # nnU-Net's name for what nobody has annotated; it is the last label.
        ignored = names.index(_IGNORE) if names[-1] == _IGNORE else -1
        classes = tuple(names[:ignored] if ignored >= 0 else names)
        return classes, tuple(Region(name, (n,)) for n, name in enumerate(classes) if n), ignored
    sets = {str(name): labels if isinstance(labels, list) else [labels] for name, labels in found.items()}
    if not all(labels and all(map(_is_label, labels)) for labels in sets.values()):
        _refuse(path, f"labels: {dict(found)!r}", "each name with one label or a list of them")
    alone = {name: labels[0] for name, labels in sets.items() if len(labels) == 1}
    background = next((name for name, label in alone.items() if label == 0), None)
    ignored = next((label for name, label in alone.items() if name.lower() == _IGNORE), -1)
    regions = tuple(
        Region(_as_name(name, min(labels)), tuple(labels))
        for name, labels in sets.items()
        if name != background and labels != [ignored]
    )
    numbers = {label for region in regions for label in region.labels}
    if background is None or sorted(numbers) != list(range(1, len(numbers) + 1)):
        _refuse(
            path,
            f"labels with the numbers {', '.join(map(str, sorted(numbers)))}, background {background!r}",
            "background as 0, and all labels from 1 on without gaps",
        )
    # The label that nnU-Net writes where a region is the last one in this order to hold.
    order = values.get("regions_class_order")
    if order is None:
        order = [region.labels[0] if len(region.labels) == 1 else 0 for region in regions]
    elif not isinstance(order, list) or len(order) != len(regions):
        _refuse(path, f"regions_class_order {order!r}", f"a label for each of {len(regions)} regions")
    else:
        for region, label in zip(regions, order, strict=True):
            if label not in region.labels:
                _refuse(
                    path, f"regions_class_order with {label!r} for {region.name}", f"one of {region.labels}"
                )
    named = {label: region.name for region, label in zip(regions, order, strict=True)} | {0: "background"}
    return tuple(named.get(n, f"label_{n}") for n in range(len(numbers) + 1)), regions, ignored


def _is_label(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _by_number(path: Path, field: str, found: Any) -> list[str]:
    """Names in the order of their numbers, which run from 0 without gaps."""
    expected = f"names by number, from 0 without gaps, as {field}"
    if not isinstance(found, Mapping) or not found:
        _refuse(path, f"{field}: {found!r}", expected)
    pairs = [(key, value) if str(key).isdecimal() else (value, key) for key, value in found.items()]
    try:
        names = {int(number): str(name) for number, name in pairs}
    except (TypeError, ValueError):
        _refuse(path, f"{field}: {dict(found)!r}", expected)
    if sorted(names) != list(range(len(pairs))):
        _refuse(path, f"{field} with the numbers {', '.join(map(str, sorted(names)))}", expected)
    return [names[number] for number in range(len(names))]


def _as_name(name: str, label: int) -> str:
    """A class's name in the form that regions have: small letters, digits, - and _."""
    word = re.sub(r"[^a-z0-9-]+", "_", name.lower()).strip("_-")
    return word if word[:1].isalpha() else f"label_{word or label}"


def _check_files(path: Path, values: Mapping[str, Any]) -> None:
    """Refuses a list or a number of training cases that is not what lies beside it."""
    ending = values.get("file_ending", _ENDINGS[0])
    if ending not in _ENDINGS:
        _refuse(
            path, f"file_ending {ending!r}", " or ".join(_ENDINGS), "convert the volumes to NIfTI or DICOM"
        )
    there = {
        kind: {file.name for file in (path.parent / folder).glob("[!.]*") if _is_volume(file.name)}
        for kind, folder in _FOLDERS.items()
    }
    number, listed = values.get("numTraining"), values.get("training")
    if listed is None:
        if number not in (None, len(there["label"])) and there["label"]:
            _refuse(
                path,
                f"numTraining {number}, and {len(there['label'])} files in {_FOLDERS['label']}",
                "the same number",
            )
        return
    entries = listed if isinstance(listed, list) else [listed]
    if not all(isinstance(entry, dict) and set(_FOLDERS) <= set(entry) for entry in entries):
        _refuse(path, "training cases without image or label", "both of each case")
    if number not in (None, len(entries)):
        _refuse(path, f"numTraining {number}, and {len(entries)} training cases", "the same number")
    # A scan that is listed by its name may lie there as a file for each channel.
    scans = {_CHANNEL.sub(r"\1", name) for name in there["image"]}
    missing = [
        str(entry[kind])
        for entry in entries
        for kind in _FOLDERS
        if not (path.parent / str(entry[kind])).exists()
        and not (kind == "image" and Path(str(entry[kind])).name in scans)
    ]
    if missing:
        _refuse(
            path,
            f"training files that are not there: {some(missing)}",
            "every file that it lists",
            "restore the files, or take their cases out of it (and correct numTraining)",
        )
    for kind, folder in _FOLDERS.items():
        names = {Path(str(entry[kind])).name for entry in entries}
        if others := sorted(
            name for name in there[kind] - names if kind == "label" or _CHANNEL.sub(r"\1", name) not in names
        ):
            _refuse(
                path,
                f"files in {folder} that it does not list: {some(others)}",
                "a list of all training cases",
                "add them to it (and correct numTraining), or move them elsewhere",
            )


def _is_volume(name: str) -> bool:
    return name.lower().endswith(_ENDINGS)


def _refuse(path: Path, found: str, expected: str, fix: str = "") -> NoReturn:
    raise InputError(
        path, found=found, expected=expected, fix=fix or "correct it, or get the data set's own again"
    )
