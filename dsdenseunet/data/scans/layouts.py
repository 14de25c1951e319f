"""Finding the cases of a data set in the layouts of LiTS, the Medical Segmentation Decathlon and nnU-Net."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import series_names
from dsdenseunet.data.scans.walk import (
    SEGMENTATION,
    Found,
    PassedOver,
    VolumeFile,
    describe,
    not_used,
    same_file,
    stem_of,
    two_files,
    walk,
    was_predicted,
)

IMAGE, LABELS = "image", "labels"
_LITS = re.compile(r"(test-)?(volume|segmentation)-0*([0-9]+)")
_MSD_FOLDERS = {"imagesTr": IMAGE, "labelsTr": LABELS, "imagesTs": IMAGE, "labelsTs": LABELS}
_DIGITS = re.compile(r"([0-9]+)")
_CHANNEL = re.compile(r"(.+)_([0-9]{4})", re.DOTALL)
_CHANNEL_OF_FILE = re.compile(r"_[0-9]{4}((?:\.nii(?:\.gz)?|\.dcm)?)$", re.IGNORECASE)
_NO_NAME = "named neither as LiTS does nor in a folder of the Decathlon's"
_NO_SEGMENTATION = "a DICOM series without a segmentation, named as no data set's"
# With more suffixes than any data set has channels, they are numbers of scans.
_MOST_CHANNELS = 4


@dataclasses.dataclass(frozen=True)
class Case:
    """One scan.

    Attributes:
        name: its image's file name without ending and channel: `volume-7`, `test-volume-7`, `liver_7`.
        images: one file or folder of a DICOM series, or one for each channel of the task; of those one may be
            missing.
        labels: its label volume; None where the data set has none.
        test: whether it is of the test part, where missing labels are no fault.
    """

    name: str
    images: tuple[Path, ...]
    labels: Path | None
    test: bool = False

    @property
    def image(self) -> Path:
        """The first file, by which messages call the case."""
        return self.images[0]

    def require_labels(self) -> Path:
        """Its label volume.

        Raises:
            InputError: there is none.
        """
        if self.labels is None:
            raise InputError(
                self.image,
                found="a scan without labels",
                expected=f"its label file (segmentation-N for {self.name}, or its namesake in labelsTr)",
                fix="add the label file, or leave the scan out",
            )
        return self.labels


@dataclasses.dataclass(frozen=True)
class Sorted:
    """The volumes below a folder by what their names say.

    Attributes:
        cases: a scan each, in natural order.
        labels: files of labels, those of `cases` and others.
        unnamed: files whose names say nothing.
        passed_over: channels that the task does not have, and files that `predict` wrote.
    """

    cases: tuple[Case, ...]
    labels: tuple[VolumeFile, ...]
    unnamed: tuple[VolumeFile, ...]
    passed_over: tuple[PassedOver, ...]


def find_cases(root: str | os.PathLike[str], channels: int = 1) -> Found[Case]:
    """Finds all scans below `root`, in natural order of their names.

    Known are LiTS (`volume-N` and `segmentation-N`, `test-volume-N`; in any folders below `root`, as
    its training part comes in two) and Medical Segmentation Decathlon (`imagesTr`, `labelsTr`,
    `imagesTs`, `labelsTs`), the latter also as nnU-Net has it, with a file for each channel: `_0000`, `_0001`
    and so on after the name of an image. The folder of a DICOM series is called as a file would be. Elsewhere
    each DICOM series is a case of which there is a segmentation, by what this says it was made from
    (`series_names`). Which files are volumes is said in `walk`.

    Args:
        root: folder of the data set.
        channels: how many the task has.

    Raises:
        InputError: no such folder, no scan in it, or two files for the same scan or its labels.
    """
    tree = walk(root)
    found = sort_files(tree.used, channels)
    used = [path for case in found.cases for path in (*case.images, case.labels) if path]
    others = [
        *tree.passed_over,
        *found.passed_over,
        *(PassedOver(file.path, "labels without a scan") for file in found.labels),
        *(
            PassedOver(file.path, _NO_SEGMENTATION if file.is_dicom_image else _NO_NAME)
            for file in found.unnamed
        ),
    ]
    left = not_used(others, used)
    if not found.cases:
        raise InputError(
            root,
            found="; ".join(["no scan", *describe(left)]),
            expected="volume-N.nii with segmentation-N.nii (LiTS), imagesTr with labelsTr (Decathlon), or "
            "DICOM series with segmentations that were made from them",
            fix="check the path; .nii, .nii.gz and folders with DICOM series are read",
        )
    return Found(found.cases, left)


def sort_files(files: Sequence[VolumeFile], channels: int) -> Sorted:
    """Tells scans, labels and other volumes apart, and pairs scans with their labels.

    Args:
        files: volumes.
        channels: how many the task has.

    Raises:
        InputError: two files for the same scan or its labels.
    """
    images: list[VolumeFile] = []
    labels: list[VolumeFile] = []
    unnamed: list[VolumeFile] = []
    others: list[PassedOver] = []
    for file in with_series_names(files):
        kind = kind_of(file)
        # A DICOM image is of a data set where its name says so, or labels that were made from it.
        if file.is_dicom_image and not (_kind_by_name(file) or file.is_referred_to):
            kind = None
        if kind and was_predicted(file.path):
            others.append(PassedOver(file.path, "written by predict; copy it elsewhere to use it as data"))
        else:
            {IMAGE: images, LABELS: labels, None: unnamed}[kind].append(file)
    labels_of = {key: file for (key, _), file in _claims((file.stem, None, file) for file in labels).items()}
    scans, further = group_channels(images, labels_of, channels)
    folders = {file.path: file.folder for file in images}
    cases = []
    for name, paths in scans.items():
        match = _LITS.fullmatch(name)
        test = bool(match and match[1]) or any(folders.get(path, "").endswith("Ts") for path in paths)
        labelled = labels_of.get(case_key(name))
        cases.append(Case(name, paths, labelled.path if labelled else None, test))
    cases.sort(key=lambda case: natural_key(case.name))
    return Sorted(tuple(cases), tuple(labels), tuple(unnamed), (*others, *further))


def with_series_names(files: Sequence[VolumeFile]) -> list[VolumeFile]:
    """The volumes of a walk, DICOM outside of the known layouts called as `series_names` says."""
    return series_names.named_by_series(files, lambda file: _kind_by_name(file) is not None)


def kind_of(file: VolumeFile) -> str | None:
    """Whether a volume is an image or labels; None where neither its content, folder nor name says.

    DICOM says it by its content, NIfTI does not.
    """
    if file.is_dicom_image:
        return IMAGE
    return LABELS if file.form == SEGMENTATION else _kind_by_name(file)


def _kind_by_name(file: VolumeFile) -> str | None:
    if file.folder in _MSD_FOLDERS:
        return _MSD_FOLDERS[file.folder]
    match = _LITS.fullmatch(file.stem)
    return None if match is None else IMAGE if match[2] == "volume" else LABELS


def case_key(name: str) -> str:
    """What the names of an image and of its labels have in common: `volume-7` for `segmentation-007`."""
    match = _LITS.fullmatch(name)
    return name if match is None else f"{match[1] or ''}volume-{match[3]}"


def group_channels(
    files: Sequence[VolumeFile], labelled: Container[str], channels: int
) -> tuple[dict[str, tuple[Path, ...]], list[PassedOver]]:
    """The files of each scan by its name, which goes without nnU-Net's channel suffix (`_0000`).

    A zero-padded number looks like that suffix. It is a number where the labels carry it too; where no
    labels tell, it is a suffix if all names without it have the same ones, from 0000 on, and either there
    are several such names or the only suffix is 0000. If the task has several channels, it is also one if
    no number is beyond them.

    Args:
        files: images.
        labelled: what `case_key` makes of the names of labels.
        channels: how many the task has.

    Returns:
        a file for each scan, or as many as there are channels, of which some may be missing; and the files
        of channels that the task does not have.

    Raises:
        InputError: two files for one scan, or for one of its channels.
    """
    stems = {file.stem for file in files}
    suffixed: dict[str, tuple[str, int]] = {}
    numbers_of: dict[str, set[int]] = defaultdict(set)
    for stem in stems:
        match = _CHANNEL.fullmatch(stem)
        if match and match[1] not in stems and case_key(stem) not in labelled:
            suffixed[stem] = match[1], int(match[2])
            numbers_of[match[1]].add(int(match[2]))
    untold = [numbers for base, numbers in numbers_of.items() if case_key(base) not in labelled]
    are_channels = _are_channels(untold, channels)
    claims: list[tuple[str, int | None, VolumeFile]] = []
    others = []
    for file in files:
        base, channel = suffixed.get(file.stem, ("", 0))
        if not base or not (are_channels or case_key(base) in labelled):
            claims.append((file.stem, None, file))
        elif channel < channels:
            claims.append((base, channel if channels > 1 else None, file))
        else:
            others.append(PassedOver(file.path, f"a further channel; the task has {channels}"))
    names = {case_key(name): name for name, _, _ in reversed(claims)}
    found: dict[str, dict[int | None, Path]] = defaultdict(dict)
    for (key, number), file in _claims(claims).items():
        found[names[key]][number] = file.path
    scans = {
        name: (paths[None],) if None in paths else _all_channels(paths, channels)
        for name, paths in found.items()
    }
    return scans, others


def _are_channels(untold: Sequence[set[int]], channels: int) -> bool:
    """Whether numbers after names that no labels tell about are those of channels."""
    if channels > 1 and all(max(numbers) < channels for numbers in untold):
        return True
    first = untold[0] if untold else set()
    alike = all(numbers == first for numbers in untold) and first == set(range(len(first)))
    return alike and len(first) <= _MOST_CHANNELS and (len(untold) > 1 or len(first) == 1)


def _all_channels(paths: Mapping[int | None, Path], channels: int) -> tuple[Path, ...]:
    """The file of each channel; one that is missing as it should be called."""
    there = next(iter(paths.values()))
    return tuple(paths.get(channel, _sibling(there, channel)) for channel in range(channels))


def files_of(path: Path, channels: int) -> tuple[str, tuple[Path, ...]]:
    """Name and files of the scan that one file belongs to: beside `p_0000` lie its other channels."""
    stem = stem_of(path)
    match = _CHANNEL.fullmatch(stem)
    if channels == 1 or match is None or int(match[2]) >= channels:
        return stem, (path,)
    return match[1], tuple(_sibling(path, channel) for channel in range(channels))


def _sibling(path: Path, channel: int) -> Path:
    return path.with_name(_CHANNEL_OF_FILE.sub(rf"_{channel:04d}\1", path.name))


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Sorting key that puts volume-2 before volume-10."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in _DIGITS.split(name)]


def _claims(
    named: Iterable[tuple[str, int | None, VolumeFile]],
) -> dict[tuple[str, int | None], VolumeFile]:
    """The file of each case, and of each channel where it has several; one reached by two paths is one.

    Raises:
        InputError: two files for one case.
    """
    claimed: dict[tuple[str, int | None], VolumeFile] = {}
    doubled = []
    for name, channel, file in named:
        first = claimed.setdefault((case_key(name), channel), file)
        if first is not file and not same_file(first.path, file.path):
            of = "" if channel is None else f", channel {channel}"
            doubled.append((name + of, first.path, file.path))
    if doubled:
        raise two_files(doubled)
    return claimed
