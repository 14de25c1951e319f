"""Finding the scans to segment, and the names of their predictions."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import lits
from dsdenseunet.data.scans.walk import (
    Found,
    PassedOver,
    VolumeFile,
    describe,
    not_used,
    same_file,
    two_files,
    volume_stem,
    walk,
    was_predicted,
)

SUFFIXES = (".nii.gz", ".nii")


@dataclasses.dataclass(frozen=True)
class Scan:
    """A CT to segment and the name of its prediction, without ending."""

    image: Path
    name: str


def find_scans(path: str | os.PathLike[str], output: str | os.PathLike[str] | None = None) -> Found[Scan]:
    """The scans of a file or folder, in natural order.

    A folder gives the images in LiTS or Decathlon layout below it, and every other volume that lies in it
    directly. `volume-N` becomes `segmentation-N`, `test-volume-N` becomes `test-segmentation-N`; others
    keep their name, without nnU-Net's `_0000`.

    Args:
        path: the file or folder.
        output: folder that the predictions will be written to, if that is to be checked.

    Raises:
        InputError: no such path, no scan in it, two scans of one name, or predictions that would lie among
            the scans.
    """
    path = Path(path)
    if output is not None:
        _refuse_own_input(path, Path(output))
    images, others = _in_folder(path) if path.is_dir() else _single(path)
    if not images:
        found = ["no scan", *describe(others)] if path.exists() else ["no such file or folder"]
        raise InputError(
            path,
            found="; ".join(found),
            expected="a .nii or .nii.gz file, or a folder with such files",
            fix="check the path",
        )
    scans: dict[str, Scan] = {}
    doubled = []
    for name, image in sorted(images, key=lambda named: lits.natural_key(named[0])):
        scan = Scan(image, prediction_name(name))
        first = scans.setdefault(scan.name, scan)
        if first is not scan and not same_file(first.image, image):
            doubled.append((scan.name, first.image, image))
    if doubled:
        raise two_files(doubled)
    return Found(tuple(scans.values()), not_used(others, [scan.image for scan in scans.values()]))


def _refuse_own_input(path: Path, output: Path) -> None:
    """Refuses predictions among the scans, where the next command reads them as scans or as labels."""
    scans, real = path.resolve(), output.resolve()
    if real == (scans if path.is_dir() else scans.parent) or (path.is_dir() and real.is_relative_to(scans)):
        raise InputError(
            output,
            found=f"predictions that would lie among the scans of {path}",
            expected="a folder of their own: they would be read as scans or labels the next time",
            fix="choose an output folder outside the input",
        )


def prediction_name(scan_name: str) -> str:
    """The challenge's name for the segmentation of a scan; a scan of another data set keeps its name."""
    return re.sub(r"^(test-)?volume-([0-9]+)$", r"\1segmentation-\2", scan_name)


def _single(path: Path) -> tuple[list[tuple[str, Path]], list[PassedOver]]:
    stem = volume_stem(path.name)
    if stem is None or not path.is_file():
        return [], []
    if was_predicted(path):
        return [], [PassedOver(path, "written by predict")]
    return [(stem, path)], []


def _in_folder(folder: Path) -> tuple[list[tuple[str, Path]], list[PassedOver]]:
    """(name, image) of each scan, and what is none."""
    tree = walk(folder)
    found = lits.sort_files(tree.used)
    plain: list[VolumeFile] = []
    others = [*tree.passed_over, *found.passed_over]
    others += [PassedOver(file.path, "labels") for file in found.labels]
    for file in found.unnamed:
        if was_predicted(file.path):
            others.append(PassedOver(file.path, "written by predict"))
        elif file.depth:
            others.append(PassedOver(file.path, "in a subfolder; point at that folder to segment it"))
        else:
            plain.append(file)
    named, second_channels = lits.without_channels(plain, ())
    images = [(case.name, case.image) for case in found.cases]
    return images + [(name, file.path) for name, file in named], [*others, *second_channels]


def take_shard(scans: Sequence[Scan], shard: str) -> tuple[Sequence[Scan], str]:
    """The scans of shard "I/N" (every N-th, from the I-th) and the name of that shard's failures file.

    Raises:
        InputError: not two numbers with 0 <= I < N.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if match is None or int(match[1]) >= int(match[2]):
        raise InputError("--shard", found=shard, expected="I/N with 0 <= I < N", fix="for example 0/4 to 3/4")
    index, count = int(match[1]), int(match[2])
    return scans[index::count], "failures.json" if count == 1 else f"failures-{index}-of-{count}.json"
