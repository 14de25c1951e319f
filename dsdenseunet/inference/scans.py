"""Finding the scans to segment, and the names of their predictions."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import dicom_file, dicom_seg_writer, layouts
from dsdenseunet.data.scans.opening import is_dicom
from dsdenseunet.data.scans.walk import (
    Found,
    PassedOver,
    VolumeFile,
    describe,
    holds_probabilities,
    not_used,
    same_file,
    two_files,
    volume_stem,
    walk,
    was_predicted,
)

# Of predictions: NIfTI, compressed or not, and DICOM segmentations.
DICOM_SUFFIX = ".dcm"
SUFFIXES = (".nii.gz", ".nii", DICOM_SUFFIX)


@dataclasses.dataclass(frozen=True)
class Scan:
    """A scan to segment.

    Attributes:
        images: one file or folder of a DICOM series, or one for each channel of the task; of those one may be
            missing.
        name: of its prediction, without ending.
    """

    images: tuple[Path, ...]
    name: str

    @property
    def image(self) -> Path:
        """The first file, by which messages call the scan."""
        return self.images[0]


def find_scans(
    path: str | os.PathLike[str], output: str | os.PathLike[str] | None = None, channels: int = 1
) -> Found[Scan]:
    """The scans of a file or folder, in natural order.

    A folder gives the images in LiTS or Decathlon layout below it, every other volume that lies in it
    directly, and every other DICOM series below it, which is called by the folders that lead to it, joined by
    `_`. `volume-N` becomes `segmentation-N`, `test-volume-N` becomes `test-segmentation-N`; others keep their
    name, without nnU-Net's `_0000`; with several channels, their files belong together.

    Args:
        path: a file, or a folder of scans or of one DICOM series; one channel's file stands for its scan.
        output: folder that the predictions will be written to, if that is to be checked.
        channels: how many the task has.

    Raises:
        InputError: no such path, no scan in it, two scans of one name, or predictions that would lie among
            the scans.
    """
    path = Path(path)
    if output is not None:
        _refuse_own_input(path, Path(output))
    images, others = (_in_folder if path.is_dir() else _single)(path, channels)
    if not images:
        found = ["no scan", *describe(others)] if path.exists() else ["no such file or folder"]
        raise InputError(
            path,
            found="; ".join(found),
            expected="a .nii or .nii.gz file, a DICOM series, or a folder with such files or series",
            fix="check the path",
        )
    scans: dict[str, Scan] = {}
    doubled = []
    for name, paths in sorted(images, key=lambda named: layouts.natural_key(named[0])):
        scan = Scan(paths, prediction_name(name))
        first = scans.setdefault(scan.name, scan)
        if first is not scan and not same_file(first.image, scan.image):
            doubled.append((scan.name, first.image, scan.image))
    if doubled:
        raise two_files(doubled)
    return Found(
        tuple(scans.values()), not_used(others, [path for scan in scans.values() for path in scan.images])
    )


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


_Images = list[tuple[str, tuple[Path, ...]]]


def _single(path: Path, channels: int) -> tuple[_Images, list[PassedOver]]:
    if not path.is_file():
        return [], []
    kind = dicom_file.kind_of_file(path)
    if kind and kind != dicom_file.MULTI_FRAME:
        what = "one slice of a series: point at its folder" if kind == dicom_file.SLICE else "no image"
        return [], [PassedOver(path, f"DICOM, {what}")]
    if not kind and volume_stem(path.name) is None:
        return [], []
    if was_predicted(path) or holds_probabilities(path):
        return [], [PassedOver(path, "written by predict")]
    return [layouts.files_of(path, channels)], []


def _in_folder(folder: Path, channels: int) -> tuple[_Images, list[PassedOver]]:
    """(name, files) of each scan, and what is none."""
    tree = walk(folder)
    found = layouts.sort_files(tree.used, channels)
    plain: list[VolumeFile] = []
    others = [*tree.passed_over, *found.passed_over]
    others += [PassedOver(file.path, "labels") for file in found.labels]
    for file in found.unnamed:
        if was_predicted(file.path):
            others.append(PassedOver(file.path, "written by predict"))
        elif file.is_dicom_image:
            plain.append(file)
        elif file.depth:
            others.append(PassedOver(file.path, "in a subfolder; point at that folder to segment it"))
        else:
            plain.append(file)
    named, further = layouts.group_channels(plain, (), channels)
    images = [(case.name, case.images) for case in found.cases]
    return [*images, *named.items()], [*others, *further]


def require_dicom(scans: Sequence[Scan]) -> None:
    """Refuses to begin where predictions cannot be DICOM segmentations.

    Raises:
        InputError: a scan that is no DICOM series, or nothing is installed that writes segmentations.
    """
    dicom_seg_writer.check_installed(f"--suffix={DICOM_SUFFIX}")
    for scan in scans:
        if scan.image.exists() and not is_dicom(scan.image):
            raise InputError(
                scan.image,
                found="a NIfTI file",
                expected=f"a DICOM series, as --suffix={DICOM_SUFFIX} writes segmentations that refer to it",
                fix="choose --suffix=.nii.gz, or point at the DICOM files",
            )


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
