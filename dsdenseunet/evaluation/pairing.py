"""Which prediction belongs to which reference, by file name."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from dsdenseunet.data.lits import natural_key
from dsdenseunet.errors import InputError

_ENDINGS = (".nii.gz", ".nii")
# LiTS in its three spellings, and the Medical Segmentation Decathlon.
_NUMBERED = re.compile(r"(?:(?:test-)?(?:volume|segmentation)-|liver_)0*(\d+)")
_CT = re.compile(r"(?:test-)?volume-\d+")
_CT_FOLDERS = ("imagesTr", "imagesTs")


@dataclasses.dataclass(frozen=True)
class FilePair:
    """Files of one case; `name` is the reference's file name without ending."""

    name: str
    prediction: Path
    reference: Path


def find_pairs(predictions: str | os.PathLike[str], references: str | os.PathLike[str]) -> list[FilePair]:
    """Pairs every reference below one folder with its prediction below another.

    A prediction has its reference's name or, with the number N, one of `test-segmentation-N`,
    `segmentation-N`, `volume-N`, `liver_N`; .nii and .nii.gz are equal. CTs among the references
    (`volume-N`, `imagesTr`) are passed over, and so are predictions without a reference.

    Raises:
        InputError: no such folder, no reference, predictions that are missing (all listed), or two files
            for one case.
    """
    found = _label_files(references, skip_ct=True)
    if not found:
        raise InputError(
            references,
            found="no label volume",
            expected="reference labels such as segmentation-N.nii",
            fix="point at the folder with the references",
        )
    candidates = _label_files(predictions, skip_ct=False)
    by_number: dict[str, list[Path]] = defaultdict(list)
    for stem, paths in candidates.items():
        if match := _NUMBERED.fullmatch(stem):
            by_number[match[1]].extend(paths)
    pairs, missing = [], []
    for stem in sorted(found, key=natural_key):
        reference = _only(found[stem], stem)
        match = _NUMBERED.fullmatch(stem)
        named = candidates.get(stem) or (by_number.get(match[1], []) if match else [])
        if named:
            pairs.append(FilePair(stem, _only(named, stem), reference))
        else:
            missing.append(stem)
    if missing:
        raise InputError(
            predictions,
            found=f"no prediction for {len(missing)} of {len(found)} references: {', '.join(missing)}",
            expected="a .nii or .nii.gz of the same name or number for each reference",
            fix="predict these cases, or leave their references out",
        )
    return pairs


def find_images(pairs: list[FilePair], root: str | os.PathLike[str]) -> dict[str, Path]:
    """The CT of each case that has one below a folder, by case name.

    A CT is `volume-N` or `test-volume-N`, or of the reference's name in a folder `imagesTr` or `imagesTs`.

    Raises:
        InputError: no such folder.
    """
    if not Path(root).is_dir():
        raise InputError(root, found="no such folder", expected="a folder with CTs", fix="check the path")
    by_number: dict[str, Path] = {}
    by_name: dict[str, Path] = {}
    for stem, path in _volumes(root):
        if _CT.fullmatch(stem) and (match := _NUMBERED.fullmatch(stem)):
            by_number.setdefault(match[1], path)
        elif path.parent.name in _CT_FOLDERS:
            by_name[stem] = path
    images = {}
    for pair in pairs:
        match = _NUMBERED.fullmatch(pair.name)
        image = by_name.get(pair.name) or (by_number.get(match[1]) if match else None)
        if image:
            images[pair.name] = image
    return images


def _label_files(root: str | os.PathLike[str], *, skip_ct: bool) -> dict[str, list[Path]]:
    """Files below a folder by their name without ending."""
    root = Path(root)
    if not root.is_dir():
        found = "a file" if root.exists() else "no such folder"
        raise InputError(root, found=found, expected="a folder with label volumes", fix="check the path")
    files: dict[str, list[Path]] = defaultdict(list)
    for stem, path in _volumes(root):
        if not (skip_ct and (_CT.fullmatch(stem) or path.parent.name in _CT_FOLDERS)):
            files[stem].append(path)
    return files


def _volumes(root: str | os.PathLike[str]) -> Iterator[tuple[str, Path]]:
    """Name without ending and path of each .nii or .nii.gz below a folder; hidden ones are passed over."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            ending = next((ending for ending in _ENDINGS if name.endswith(ending)), None)
            if ending is not None and not name.startswith("."):
                yield name.removesuffix(ending), Path(folder) / name


def _only(paths: list[Path], stem: str) -> Path:
    if len(paths) > 1:
        raise InputError(
            paths[1],
            found=f"a second file for {stem}; the first is {paths[0]}",
            expected="one file a case",
            fix="remove one of the two",
        )
    return paths[0]
