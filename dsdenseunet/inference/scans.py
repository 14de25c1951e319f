"""Finding the scans to segment, and the names of their predictions."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from dsdenseunet.data import lits
from dsdenseunet.errors import InputError

SUFFIXES = (".nii.gz", ".nii")


@dataclasses.dataclass(frozen=True)
class Scan:
    """A CT to segment and the name of its prediction, without ending."""

    image: Path
    name: str


def find_scans(path: str | os.PathLike[str]) -> list[Scan]:
    """The scans of a file or folder, in natural order.

    A folder in LiTS or Decathlon layout gives its images; any other folder its .nii and .nii.gz files.
    `volume-N` becomes `segmentation-N`, `test-volume-N` becomes `test-segmentation-N`; others keep their
    name.

    Raises:
        InputError: no such path, no scan in it, or two scans of one name.
    """
    path = Path(path)
    if path.is_dir():
        images = [found.image for found in _lits_cases(path)] or sorted(
            (file for file in path.iterdir() if _stem(file) and not file.name.startswith(".")),
            key=lambda file: lits.natural_key(file.name),
        )
    else:
        images = [path] if path.is_file() and _stem(path) else []
    if not images:
        raise InputError(
            path,
            found="no scan" if path.exists() else "no such file or folder",
            expected="a .nii or .nii.gz file, or a folder with such files",
            fix="check the path",
        )
    scans = [Scan(image, prediction_name(_stem(image) or image.name)) for image in images]
    images_by_name: dict[str, Path] = {}
    for scan in scans:
        first = images_by_name.setdefault(scan.name, scan.image)
        if first != scan.image:
            raise InputError(
                scan.image,
                found=f"a second scan named like {first}",
                expected="a name of its own for each scan",
                fix="rename one of them",
            )
    return scans


def prediction_name(scan_name: str) -> str:
    """The challenge's name for the segmentation of a scan; a scan of another data set keeps its name."""
    return re.sub(r"^(test-)?volume-(\d+)$", r"\1segmentation-\2", scan_name)


def _lits_cases(folder: Path) -> list[lits.Case]:
    """The cases of a folder in a known layout; none if it is in no such layout."""
    try:
        return lits.find_cases(folder)
    except InputError as error:
        if error.found == "no scan":
            return []
        raise


def _stem(path: Path) -> str | None:
    """A scan's file name without ending; None for another file."""
    return next((path.name.removesuffix(end) for end in SUFFIXES if path.name.endswith(end)), None)


def take_shard(scans: list[Scan], shard: str) -> tuple[list[Scan], str]:
    """The scans of shard "I/N" (every N-th, from the I-th) and the name of that shard's failures file.

    Raises:
        InputError: not two numbers with 0 <= I < N.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if match is None or int(match[1]) >= int(match[2]):
        raise InputError("--shard", found=shard, expected="I/N with 0 <= I < N", fix="for example 0/4 to 3/4")
    index, count = int(match[1]), int(match[2])
    return scans[index::count], "failures.json" if count == 1 else f"failures-{index}-of-{count}.json"
