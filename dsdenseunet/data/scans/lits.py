"""Finding the cases of a data set: LiTS layout and Medical Segmentation Decathlon layout."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans.walk import (
    Found,
    PassedOver,
    VolumeFile,
    describe,
    not_used,
    same_file,
    two_files,
    walk,
    was_predicted,
)

IMAGE, LABELS = "image", "labels"
_LITS = re.compile(r"(test-)?(volume|segmentation)-0*([0-9]+)")
_MSD_FOLDERS = {"imagesTr": IMAGE, "labelsTr": LABELS, "imagesTs": IMAGE, "labelsTs": LABELS}
_DIGITS = re.compile(r"([0-9]+)")
_CHANNEL = re.compile(r"(.+)_([0-9]{4})", re.DOTALL)
# With more suffixes than any data set has channels, they are numbers of scans.
_MOST_CHANNELS = 4


@dataclasses.dataclass(frozen=True)
class Case:
    """One scan.

    Attributes:
        name: its image's file name without ending: `volume-7`, `test-volume-7`, `liver_7`.
        image: the CT.
        labels: its label volume; None where the data set has none.
        test: whether it is of the test part, where missing labels are no fault.
    """

    name: str
    image: Path
    labels: Path | None
    test: bool = False


@dataclasses.dataclass(frozen=True)
class Sorted:
    """The volumes below a folder by what their names say.

    Attributes:
        cases: a scan each, in natural order.
        labels: files of labels, those of `cases` and others.
        unnamed: files whose names say nothing.
        passed_over: second channels, and files that `predict` wrote.
    """

    cases: tuple[Case, ...]
    labels: tuple[VolumeFile, ...]
    unnamed: tuple[VolumeFile, ...]
    passed_over: tuple[PassedOver, ...]


def find_cases(root: str | os.PathLike[str]) -> Found[Case]:
    """Finds all scans below `root`, in natural order of their names.

    Known are LiTS (`volume-N` and `segmentation-N`, `test-volume-N`; in any folders below `root`, as
    its training part comes in two) and Medical Segmentation Decathlon (`imagesTr`, `labelsTr`,
    `imagesTs`, `labelsTs`), with nnU-Net's `_0000` after the name of an image or without. Which files are
    volumes is said in `walk`.

    Raises:
        InputError: no such folder, no scan in it, or two files for the same scan or its labels.
    """
    tree = walk(root)
    found = sort_files(tree.used)
    used = [path for case in found.cases for path in (case.image, case.labels) if path]
    others = [
        *tree.passed_over,
        *found.passed_over,
        *(PassedOver(file.path, "labels without a scan") for file in found.labels),
        *(
            PassedOver(file.path, "named neither as LiTS does nor in a folder of the Decathlon's")
            for file in found.unnamed
        ),
    ]
    left = not_used(others, used)
    if not found.cases:
        raise InputError(
            root,
            found="; ".join(["no scan", *describe(left)]),
            expected="volume-N.nii with segmentation-N.nii (LiTS), or imagesTr with labelsTr (Decathlon)",
            fix="check the path; .nii and .nii.gz are read",
        )
    return Found(found.cases, left)


def sort_files(files: Iterable[VolumeFile]) -> Sorted:
    """Tells scans, labels and other volumes apart, and pairs scans with their labels.

    Raises:
        InputError: two files for the same scan or its labels.
    """
    images: list[VolumeFile] = []
    labels: list[VolumeFile] = []
    unnamed: list[VolumeFile] = []
    others: list[PassedOver] = []
    for file in files:
        kind = kind_of(file)
        if kind and was_predicted(file.path):
            others.append(PassedOver(file.path, "written by predict; copy it elsewhere to use it as data"))
        else:
            {IMAGE: images, LABELS: labels, None: unnamed}[kind].append(file)
    labels_of = _claims((file.stem, file) for file in labels)
    named, second_channels = without_channels(images, labels_of)
    cases = []
    for key, (name, file) in _claims(named).items():
        match = _LITS.fullmatch(name)
        test = file.folder.endswith("Ts") or bool(match and match[1])
        cases.append(Case(name, file.path, labels_of[key][1].path if key in labels_of else None, test))
    cases.sort(key=lambda case: natural_key(case.name))
    return Sorted(tuple(cases), tuple(labels), tuple(unnamed), (*others, *second_channels))


def kind_of(file: VolumeFile) -> str | None:
    """Whether a volume is an image or labels by its folder or its name; None where neither says."""
    if file.folder in _MSD_FOLDERS:
        return _MSD_FOLDERS[file.folder]
    match = _LITS.fullmatch(file.stem)
    return None if match is None else IMAGE if match[2] == "volume" else LABELS


def case_key(name: str) -> str:
    """What the names of an image and of its labels have in common: `volume-7` for `segmentation-007`."""
    match = _LITS.fullmatch(name)
    return name if match is None else f"{match[1] or ''}volume-{match[3]}"


def without_channels(
    files: Sequence[VolumeFile], labelled: Container[str]
) -> tuple[list[tuple[str, VolumeFile]], list[PassedOver]]:
    """Names images without nnU-Net's channel suffix, `_0000`, and lists second channels.

    A zero-padded number looks like that suffix. It is a number where the labels carry it too; where no
    labels tell, it is a suffix if all names without it have the same ones, from 0000 on, and either
    there are several such names or the only suffix is 0000.

    Args:
        files: images.
        labelled: what `case_key` makes of the names of labels.
    """
    stems = {file.stem for file in files}
    suffixed: dict[str, tuple[str, int]] = {}
    channels: dict[str, set[int]] = defaultdict(set)
    for stem in stems:
        match = _CHANNEL.fullmatch(stem)
        if match and match[1] not in stems and case_key(stem) not in labelled:
            suffixed[stem] = match[1], int(match[2])
            channels[match[1]].add(int(match[2]))
    untold = [numbers for base, numbers in channels.items() if case_key(base) not in labelled]
    first = untold[0] if untold else set()
    alike = all(numbers == first for numbers in untold) and first == set(range(len(first)))
    are_channels = alike and len(first) <= _MOST_CHANNELS and (len(untold) > 1 or len(first) == 1)
    named, others = [], []
    for file in files:
        base, channel = suffixed.get(file.stem, ("", 0))
        if not base or not (are_channels or case_key(base) in labelled):
            named.append((file.stem, file))
        elif channel == 0:
            named.append((base, file))
        else:
            others.append(PassedOver(file.path, "a further channel; only the first of a scan is read yet"))
    return named, others


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Sorting key that puts volume-2 before volume-10."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in _DIGITS.split(name)]


def _claims(named: Iterable[tuple[str, VolumeFile]]) -> dict[str, tuple[str, VolumeFile]]:
    """Name and file of each case; a file that is reached by two paths is one.

    Raises:
        InputError: two files for one case.
    """
    claimed: dict[str, tuple[str, VolumeFile]] = {}
    doubled = []
    for name, file in named:
        first = claimed.setdefault(case_key(name), (name, file))[1]
        if first is not file and not same_file(first.path, file.path):
            doubled.append((name, first.path, file.path))
    if doubled:
        raise two_files(doubled)
    return claimed
