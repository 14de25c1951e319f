"""Which files below a folder are volumes: one walk, with one set of rules, for every command.

Every file that looks like a scan is either handed out or listed with the reason why it is not, so that none
is dropped silently. NIfTI files are known by their names, DICOM files by their content: many have names that
say nothing.
"""

from __future__ import annotations

import dataclasses
import os
import re
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import counted, printable, some
from dsdenseunet.data.scans import dicom_file

# The folder beside predictions in which `predict` records how each was made, one file per scan.
RECORDS = ".records"
# What the names of the class probabilities that `predict` writes beside a prediction end in.
PROBABILITIES = "_probabilities"
_NIFTI = re.compile(r"(.+?)\.nii(\.gz)?", re.IGNORECASE | re.DOTALL)
# Forms of a volume; those of DICOM are `dicom_file`'s: a folder with files of single slices is a series.
NIFTI, SERIES = "NIfTI", dicom_file.SLICE
MULTI_FRAME, SEGMENTATION = dicom_file.MULTI_FRAME, dicom_file.SEGMENTATION
# Other formats of scans, and files whose names say DICOM or NIfTI and whose content does not.
_OTHER_FORMATS = re.compile(
    r".+\.(mha|mhd|nrrd|nhdr|dcm|dicom|ima|img|hdr|mgh|mgz|mnc|nia|gipl|analyze)(\.gz)?",
    re.IGNORECASE | re.DOTALL,
)
_MANGLED = re.compile(r".+\.nii.*", re.IGNORECASE | re.DOTALL)
_NAMED = 3
_TOO_FEW = f"fewer than {dicom_file.LEAST_SLICES} DICOM images in a folder, which are no volume"

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class PassedOver:
    """A file or folder that is not used, and why."""

    path: Path
    why: str


@dataclasses.dataclass(frozen=True)
class Found(Generic[T]):
    """What a search has found.

    Attributes:
        used: what it was looking for, in natural order.
        passed_over: all else that looks like a scan, and what could not be looked into.
    """

    used: tuple[T, ...]
    passed_over: tuple[PassedOver, ...]


@dataclasses.dataclass(frozen=True)
class VolumeFile:
    """A volume: a NIfTI file, a DICOM file that holds a whole one, or the folder of a DICOM series.

    Attributes:
        path: as it was reached, through links too.
        stem: its name without ending, in Unicode's composed form: it does not matter how the name was typed.
        folder: name of the folder that it lies in.
        depth: folders between it and where the walk began.
        form: `NIFTI`, `SERIES`, `MULTI_FRAME` or `SEGMENTATION`.
        is_referred_to: whether a segmentation in the same tree was made from it (`series_names`).
    """

    path: Path
    stem: str
    folder: str
    depth: int
    form: str = NIFTI
    is_referred_to: bool = False

    @property
    def is_dicom_image(self) -> bool:
        """Whether it is an image by its content."""
        return self.form in (SERIES, MULTI_FRAME)


def volume_stem(name: str) -> str | None:
    """A NIfTI file's name without its ending, .nii or .nii.gz in any case; None for another file's.

    It can be written to any text file: bytes that are not UTF-8 become escapes.
    """
    match = _NIFTI.fullmatch(name)
    return None if match is None else _composed(match[1])


def stem_of(path: Path) -> str:
    """The name of a volume of any form without its ending, as `VolumeFile.stem`."""
    return volume_stem(path.name) or _composed(
        path.name if path.is_dir() else dicom_file.stem_of_file(path.name)
    )


def _composed(name: str) -> str:
    return printable(unicodedata.normalize("NFC", name))


def walk(root: str | os.PathLike[str]) -> Found[VolumeFile]:
    """All volumes below a folder, in the order of their paths.

    Links to folders and files are followed. A folder is entered once under each of its names, as the name can
    have a meaning (`imagesTr`); a link back to a folder above it is not followed. A volume's link that cannot
    be followed counts as a volume, so that it fails as a case of its own. The images of a DICOM series are
    one volume, which is called by their folder: where a folder has those of several, opening it says so.
    Passed over are hidden files and those in hidden folders, other formats, DICOM without a volume,
    probabilities that `predict` wrote, and what cannot be read.

    Raises:
        InputError: no such folder.
    """
    root = Path(root)
    if not root.is_dir():
        found = "a file" if root.exists() else "no such folder"
        raise InputError(root, found=found, expected="a folder", fix="check the path")
    volumes: list[VolumeFile] = []
    others: list[PassedOver] = []
    entered: set[tuple[str, str]] = set()
    # Folders to enter: the path, the real paths of those above it, and whether one of them is hidden.
    pending: list[tuple[Path, tuple[str, ...], bool]] = [(root, (), False)]
    while pending:
        folder, above, hidden = pending.pop()
        name = folder.name if folder.name not in ("", "..") else folder.resolve().name
        real = os.path.realpath(folder)
        if real in above:
            others.append(PassedOver(folder, "a link back to a folder that it lies in"))
            continue
        if (real, name) in entered:
            continue
        entered.add((real, name))
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            others.append(PassedOver(folder, f"a folder that cannot be read ({error.strerror})"))
            continue
        subfolders, slices = [], []
        for entry in entries:
            path, unseen = folder / entry.name, hidden or entry.name.startswith(".")
            stem = volume_stem(entry.name)
            mode, fault = _mode(entry)
            looked_into = stat.S_ISREG(mode) and not (fault or unseen or stem is not None)
            kind = dicom_file.kind_of_file(path) if looked_into else ""
            if stat.S_ISDIR(mode):
                subfolders.append((path, (*above, real), unseen))
            elif fault and stem is None:
                others.append(PassedOver(path, fault))
            elif why := _why_not(entry.name, mode, unseen, kind):
                others.append(PassedOver(path, why))
            elif holds_probabilities(path):
                others.append(PassedOver(path, "class probabilities, written by predict"))
            elif stem is not None:
                volumes.append(VolumeFile(path, stem, name, len(above)))
            elif kind == dicom_file.SLICE:
                slices.append(path)
            elif kind == dicom_file.OTHER:
                others.append(PassedOver(path, "DICOM without a volume of CT, MR or PET"))
            elif kind:
                volumes.append(VolumeFile(path, stem_of(path), name, len(above), kind))
        if len(slices) >= dicom_file.LEAST_SLICES:
            parent = folder.absolute().parent.name
            volumes.append(VolumeFile(folder, _composed(name), parent, max(0, len(above) - 1), SERIES))
        else:
            others += [PassedOver(path, _TOO_FEW) for path in slices]
        pending += reversed(subfolders)
    return Found(tuple(volumes), tuple(others))


def _mode(entry: os.DirEntry[str]) -> tuple[int, str]:
    """What an entry is, links followed; a file, and what is wrong, where they lead nowhere."""
    try:
        return entry.stat().st_mode, ""
    except OSError as error:
        kind = "a link that cannot be followed" if entry.is_symlink() else "cannot be read"
        return stat.S_IFREG, f"{kind} ({error.strerror})"


def _why_not(name: str, mode: int, hidden: bool, kind: str) -> str:
    """Why a file that looks like a scan is not used; empty for a volume, and for what looks like none."""
    if kind or not (_MANGLED.fullmatch(name) or _OTHER_FORMATS.fullmatch(name)):
        return ""
    if hidden:
        return "hidden"
    if not stat.S_ISREG(mode):
        return "neither a file nor a folder"
    if any(unicodedata.category(character) == "Cc" for character in name):
        return "a control character in the name; rename it"
    if volume_stem(name) is None:
        return "not read: neither DICOM by its content nor .nii or .nii.gz by its name; convert or rename it"
    return ""


def not_used(others: Iterable[PassedOver], used: Iterable[Path]) -> tuple[PassedOver, ...]:
    """Which of `others` are not used at all: files that are used under another path are left out."""
    taken = {os.path.realpath(path) for path in used}
    left: dict[str, PassedOver] = {}
    for other in others:
        real = os.path.realpath(other.path)
        if real not in taken:
            # A link that leads nowhere, or back, is an entry of its own.
            left.setdefault(real if other.path.is_file() else os.fspath(other.path), other)
    return tuple(left.values())


def same_file(first: Path, second: Path) -> bool:
    """Whether two paths lead to one file."""
    try:
        return first.samefile(second)
    except OSError:
        return False


def was_predicted(path: Path) -> bool:
    """Whether `predict` wrote this file, by the record that it keeps beside it."""
    return not path.is_dir() and (path.parent / RECORDS / f"{stem_of(path)}.json").exists()


def holds_probabilities(path: Path) -> bool:
    """Whether `predict` wrote this file beside a prediction, as the probabilities that this is made of."""
    stem = volume_stem(path.name) or ""
    of = stem.removesuffix(PROBABILITIES)
    return of != stem and (path.parent / RECORDS / f"{of}.json").exists() and not was_predicted(path)


def probabilities_of(prediction: Path) -> Path | None:
    """The class probabilities that `predict` wrote beside a prediction; None where there are none."""
    stem = re.sub(r"\.(nii(\.gz)?|dcm)$", "", prediction.name, flags=re.IGNORECASE)
    beside = (prediction.with_name(stem + PROBABILITIES + ending) for ending in (".nii.gz", ".nii"))
    return next((path for path in beside if path.is_file() and holds_probabilities(path)), None)


def two_files(claims: Sequence[tuple[str, Path, Path]]) -> InputError:
    """The error for cases that two files claim: (case, first file, second file) of each."""
    shown = "; ".join(f"{case}: {_told_apart(first, second)}" for case, first, second in claims[:_NAMED])
    more = f"; and {len(claims) - _NAMED} more cases" if len(claims) > _NAMED else ""
    return InputError(
        claims[0][2],
        found=f"a second file for {counted(len(claims), 'case')} ({shown}{more})",
        expected="one file for each",
        fix="point at the folder that holds only the one that you mean, or move the other one elsewhere",
    )


def _told_apart(first: Path, second: Path) -> str:
    if unicodedata.normalize("NFC", str(first)) == unicodedata.normalize("NFC", str(second)):
        return f"{str(first)!a} and {str(second)!a}, whose accents are stored in two ways"
    return f"{first} and {second}"


def describe(others: Iterable[PassedOver]) -> list[str]:
    """Lines that name what was passed over, grouped by reason, with a few names each; none for nothing."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for other in others:
        by_reason[other.why].append(os.fspath(other.path))
    lines = []
    for why, paths in by_reason.items():
        lines.append(f"passed over: {counted(len(paths), 'file')}, {why}: {some(paths, _NAMED)}")
    return lines


def tell(others: Iterable[PassedOver], say: Callable[[str], object] = print) -> None:
    """Says what was passed over, or that everything is used."""
    for line in describe(others) or ["every file that looks like a scan is used"]:
        say(line)


def to_json(others: Iterable[PassedOver]) -> list[dict[str, str]]:
    """For records: path and reason of each."""
    return [{"path": os.fspath(other.path), "why": other.why} for other in others]


def from_json(entries: Iterable[Mapping[str, str]]) -> list[PassedOver]:
    """Inverse of `to_json`."""
    return [PassedOver(Path(entry["path"]), entry["why"]) for entry in entries]
