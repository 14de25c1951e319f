"""Finding the cases of a data set: LiTS layout and Medical Segmentation Decathlon layout."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path

from dsdenseunet.errors import InputError

_LITS = re.compile(r"(test-)?(volume|segmentation)-(\d+)\.nii(\.gz)?")
_MSD = re.compile(r"([A-Za-z0-9][\w.-]*?)\.nii(\.gz)?")
_MSD_FOLDERS = {"imagesTr": "image", "labelsTr": "labels", "imagesTs": "image", "labelsTs": "labels"}


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


def find_cases(root: str | os.PathLike[str]) -> list[Case]:
    """Finds all scans below `root`, in natural order of their names.

    Known are LiTS (`volume-N` and `segmentation-N`, `test-volume-N`; in any folders below `root`, as
    its training part comes in two) and Medical Segmentation Decathlon (`imagesTr`, `labelsTr`,
    `imagesTs`), each with .nii or .nii.gz. Hidden files are passed over.

    Raises:
        InputError: no such folder, no scan in it, or two files for the same scan or its labels.
    """
    root = Path(root)
    if not root.is_dir():
        found = "a file" if root.exists() else "no such folder"
        raise InputError(root, found=found, expected="a folder with scans", fix="check the path")
    paths: dict[str, dict[str, Path]] = {"image": {}, "labels": {}}
    tests = set()
    for path in _files(root):
        identified = _identify(path)
        if identified is None:
            continue
        name, kind, test = identified
        if name in paths[kind]:
            raise InputError(
                path,
                found=f"a second {kind} file of {name}; the first is {paths[kind][name]}",
                expected="one file each",
                fix="remove one of the two, or point at one data set only",
            )
        paths[kind][name] = path
        if test:
            tests.add(name)
    if not paths["image"]:
        raise InputError(
            root,
            found="no scan",
            expected="volume-N.nii with segmentation-N.nii (LiTS), or imagesTr with labelsTr (Decathlon)",
            fix="check the path; .nii and .nii.gz are read",
        )
    return [
        Case(name, paths["image"][name], paths["labels"].get(name), name in tests)
        for name in sorted(paths["image"], key=natural_key)
    ]


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Sorting key that puts volume-2 before volume-10."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]


def _identify(path: Path) -> tuple[str, str, bool] | None:
    """(case name, "image" or "labels", of the test part), or None for another file."""
    if match := _LITS.fullmatch(path.name):
        test, kind, number, _ = match.groups()
        return f"{test or ''}volume-{number}", "image" if kind == "volume" else "labels", bool(test)
    folder = path.parent.name
    if folder in _MSD_FOLDERS and (match := _MSD.fullmatch(path.name)):
        return match[1], _MSD_FOLDERS[folder], folder.endswith("Ts")
    return None


def _files(root: Path) -> Iterator[Path]:
    """All files below `root` in a fixed order; linked folders are entered, once each."""
    entered = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            subfolders.clear()
            continue
        entered.add(real)
        subfolders.sort()
        yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))
