"""Which prediction belongs to which reference, by file name."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import counted
from dsdenseunet.data.scans.layouts import IMAGE, kind_of, natural_key, with_series_names
from dsdenseunet.data.scans.walk import (
    Found,
    PassedOver,
    VolumeFile,
    describe,
    not_used,
    probabilities_of,
    two_files,
    walk,
)

# LiTS, and the Medical Segmentation Decathlon's names for the training part of it.
_NUMBERED = re.compile(r"(?:(test-)?(?:volume|segmentation)-|liver_)0*([0-9]+)")
# nnU-Net's suffix of an image's first channel; a prediction can have inherited it.
_FIRST_CHANNEL = "_0000"

Rule = Callable[[VolumeFile], Hashable]


@dataclasses.dataclass(frozen=True)
class FilePair:
    """Files of one case; `name` is the reference's file name without ending.

    Beside a prediction may lie the class probabilities that it was made of.
    """

    name: str
    prediction: Path
    reference: Path
    probabilities: Path | None = None


def find_pairs(predictions: str | os.PathLike[str], references: str | os.PathLike[str]) -> Found[FilePair]:
    """Pairs every reference below one folder with its prediction below another.

    A prediction has its reference's name (`_0000` after one of them is ignored) or, with the number N, one
    of `segmentation-N`, `volume-N`, `liver_N`. LiTS numbers its test part anew, so a test case's prediction
    is `test-segmentation-N` or `test-volume-N`, and no training case's is. Images among the references
    (`volume-N`, `imagesTr`) are passed over, and so are predictions without a reference. A reference is
    never its own prediction.

    Raises:
        InputError: no such folder, no reference, predictions that are missing (all listed), or two files
            for one case.
    """
    truth, answers = walk(references), walk(predictions)
    labels: list[VolumeFile] = []
    images: list[VolumeFile] = []
    for file in with_series_names(truth.used):
        (images if kind_of(file) == IMAGE else labels).append(file)
    others = [*truth.passed_over, *answers.passed_over]
    others += [PassedOver(file.path, "an image among the references") for file in images]
    if not labels:
        raise InputError(
            references,
            found="; ".join(["no label volume", *describe(others)]),
            expected="reference labels such as segmentation-N.nii",
            fix="point at the folder with the references",
        )
    own = {os.path.realpath(file.path) for file in labels}
    candidates = [file for file in answers.used if os.path.realpath(file.path) not in own]
    # A file with exactly a reference's name belongs to it; the others are matched by wider rules.
    names = {_name(file) for file in labels}
    free = [file for file in candidates if _name(file) not in names]
    rules: list[tuple[Rule, list[VolumeFile]]]
    rules = [(_name, candidates), (_name_without_channel, free), (_number, free)]
    indices = [(rule, _index(files, rule)) for rule, files in rules]
    pairs, missing, unpaired, doubled = [], [], set(), []
    for same_case in _index(labels, lambda file: _number(file) or _name(file)).values():
        reference = same_case[0]
        named = next((found for rule, index in indices if (found := index.get(rule(reference)))), [])
        for files in (same_case, named):
            doubled += [(reference.stem, files[0].path, second.path) for second in files[1:2]]
        if named:
            prediction = named[0].path
            beside = probabilities_of(prediction)
            pairs.append(FilePair(reference.stem, prediction, reference.path, beside))
        else:
            missing.append(reference.stem)
            unpaired.add(_number(reference))
    if doubled:
        raise two_files(doubled)
    if missing:
        notes = []
        if shared := len(answers.used) - len(candidates):
            notes.append(f"; {counted(shared, 'file')} here are references themselves")
        if any(number and (not number[0], number[1]) in unpaired for number in map(_number, candidates)):
            notes.append("; `test-` names are LiTS' test part, whose numbers are other patients'")
        raise InputError(
            predictions,
            found=f"no prediction for {len(missing)} of {len(pairs) + len(missing)} references: "
            + ", ".join(sorted(missing, key=natural_key))
            + "".join(notes),
            expected="a .nii or .nii.gz of the same name or number for each reference",
            fix="predict these cases, or leave their references out",
        )
    pairs.sort(key=lambda pair: natural_key(pair.name))
    others += [PassedOver(file.path, "a prediction without a reference") for file in candidates]
    used = [path for pair in pairs for path in (pair.prediction, pair.reference, pair.probabilities) if path]
    return Found(tuple(pairs), not_used(others, used))


def images_of(references: str | os.PathLike[str]) -> Path:
    """Where the images of references are: in `imagesTr` beside `labelsTr` (Ts alike), or else among them."""
    folder = Path(references)
    part = folder.absolute()
    beside = part.with_name(part.name.replace("labels", "images"))
    return beside if part.name in ("labelsTr", "labelsTs") and beside.is_dir() else folder


def find_images(pairs: Iterable[FilePair], root: str | os.PathLike[str]) -> dict[str, Path]:
    """The image of each case that has one below a folder, by case name.

    An image is `volume-N` (`test-volume-N` of a test case), or it has the reference's name and lies in a
    folder `imagesTr` or `imagesTs`; of channels that are a file each, it is the first. Where two files could
    be a case's image, neither is taken: a picture of another patient is worse than none.

    Raises:
        InputError: no such folder.
    """
    images = [file for file in with_series_names(walk(root).used) if kind_of(file) == IMAGE]
    by_name, by_number = _index(images, _name_without_channel), _index(images, _number)
    found = {}
    for pair in pairs:
        reference = VolumeFile(pair.reference, pair.name, pair.reference.parent.name, 0)
        named = by_name.get(_name_without_channel(reference)) or by_number.get(_number(reference), [])
        if len(named) == 1:
            found[pair.name] = named[0].path
    return found


def _index(files: Iterable[VolumeFile], rule: Rule) -> dict[Hashable, list[VolumeFile]]:
    """Files by what a rule makes of their names (nothing: left out); one reached by two paths counts once."""
    index: dict[Hashable, dict[str, VolumeFile]] = defaultdict(dict)
    for file in files:
        key = rule(file)
        if key is not None:
            index[key].setdefault(os.path.realpath(file.path), file)
    return {key: list(same.values()) for key, same in index.items()}


def _name(file: VolumeFile) -> str:
    return file.stem


def _name_without_channel(file: VolumeFile) -> str:
    return file.stem.removesuffix(_FIRST_CHANNEL) or file.stem


def _number(file: VolumeFile) -> tuple[bool, int] | None:
    """Whether a case is of LiTS' test part, and its number there."""
    match = _NUMBERED.fullmatch(file.stem.removesuffix(_FIRST_CHANNEL))
    in_test_part = file.folder.endswith("Ts")
    # The Decathlon has test cases of other hospitals under numbers of its own.
    if match is None or (in_test_part and file.stem.startswith("liver_")):
        return None
    return in_test_part or bool(match[1]), int(match[2])
