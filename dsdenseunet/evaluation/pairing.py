"""Which prediction belongs to which reference, by file name."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import defaultdict
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


def _label_files(root: str | os.PathLike[str], *, skip_ct: bool) -> dict[str, list[Path]]:
    """Files below a folder by their name without ending; hidden ones are passed over."""
    root = Path(root)
    if not root.is_dir():
        found = "a file" if root.exists() else "no such folder"
        raise InputError(root, found=found, expected="a folder with label volumes", fix="check the path")
    files: dict[str, list[Path]] = defaultdict(list)
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            ending = next((ending for ending in _ENDINGS if name.endswith(ending)), None)
            if ending is None or name.startswith("."):
                continue
            stem = name.removesuffix(ending)
            if skip_ct and (_CT.fullmatch(stem) or Path(folder).name in _CT_FOLDERS):
                continue
            files[stem].append(Path(folder) / name)
    return files


def _only(paths: list[Path], stem: str) -> Path:
    if len(paths) > 1:
        raise InputError(
            paths[1],
            found=f"a second file for {stem}; the first is {paths[0]}",
            expected="one file a case",
            fix="remove one of the two",
        )
    return paths[0]
