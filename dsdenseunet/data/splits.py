"""Cross-validation folds: seeded, stratified, independent of the order of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import counted
from dsdenseunet.data.cache import Cache
from dsdenseunet.tasks.task import Task


def strata(task: Task, cache: Cache, names: Sequence[str]) -> dict[str, bool]:
    """For each case whether it has the region by which the task stratifies; False for all without one."""
    labels = task.region(task.stratify_by).labels if task.stratify_by else ()
    counts = {name: cache.record(name).label_counts for name in names}
    return {name: any(count[label] for label in labels) for name, count in counts.items()}


def stratified_folds(
    has_region: Mapping[str, bool], folds: int, seed: int, sizes: Mapping[str, int] | None = None
) -> list[tuple[str, ...]]:
    """Deals cases into folds whose sizes, and numbers of cases without the region, differ by one at most.

    A case's place follows from a hash of its name and the seed, on any machine and library version;
    the order of `has_region` plays no part (the order of LiTS' files is not random).

    Args:
        has_region: case name to whether it has voxels of the region.
        folds: how many.
        seed: another seed deals the cases differently.
        sizes: what each case counts for (None: one), such as the scans of a patient. Those that count for
            more are dealt first and from the last fold on, so that folds differ as little as may be.

    Returns:
        For each fold its case names, sorted.

    Raises:
        InputError: fewer than two cases, fewer than two folds, or fewer cases than folds.
    """
    if len(has_region) < 2:
        raise InputError(
            "config.data.folds",
            found=f"{counted(len(has_region), 'case')} to deal into {folds} folds",
            expected="two cases at least: one to train on and another one to validate on",
            fix="prepare a second labelled case into the same cache; `python -m experiments.demo` shows the "
            "program at work on data that it fetches",
        )
    if not 2 <= folds <= len(has_region):
        raise InputError(
            "config.data.folds",
            found=f"{folds} folds for {len(has_region)} cases",
            expected=f"2 to {len(has_region)} folds",
            fix=f"--config.data.folds={min(5, len(has_region))}, or name the cases: "
            "--config.data.explicit.train=\"('A', 'B')\" --config.data.explicit.validation=\"('C',)\"",
        )
    size = {name: 1 if sizes is None else sizes[name] for name in has_region}
    dealt: list[list[str]] = [[] for _ in range(folds)]
    taken = [0] * folds
    for name in sorted(_shuffled(has_region, seed), key=lambda name: (not has_region[name], -size[name])):
        fold = min(range(folds), key=lambda fold: (taken[fold], -fold if size[name] > 1 else fold))
        dealt[fold].append(name)
        taken[fold] += size[name]
    return [tuple(sorted(names)) for names in dealt]


def read_fold(path: str | os.PathLike[str], fold: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the training and the validation cases of a fold in a file such as nnU-Net's splits_final.json.

    Args:
        path: JSON, a list of {"train": [names], "val": [names]}.
        fold: which of them.

    Raises:
        InputError: no such file or fold, or a case in both parts.
    """
    folds = _read(path)
    if fold >= len(folds):
        raise InputError(
            path,
            found=f"{counted(len(folds), 'fold')}, and number {fold} is asked for",
            expected=f"a fold in 0..{len(folds) - 1}",
            fix="ask for one of those: --config.data.fold=0, or --fold=0 of compare",
        )
    train, validation = (tuple(sorted(folds[fold][part])) for part in ("train", "val"))
    if both := sorted(set(train) & set(validation)):
        raise InputError(
            path,
            found=f"{', '.join(both[:3])} in train and in val of fold {fold}",
            expected="each case in one of them",
            fix="correct the file",
        )
    return train, validation


def count_folds(path: str | os.PathLike[str]) -> int:
    """How many folds a file of `read_fold` has.

    Raises:
        InputError: no such file.
    """
    return len(_read(path))


def _read(path: str | os.PathLike[str]) -> list[dict[str, list[str]]]:
    folds = files.read_json(path)
    form = 'a list of {"train": [names], "val": [names]}'
    if not isinstance(folds, list) or not folds or not all(map(_is_fold, folds)):
        raise InputError(path, found="another form", expected=form, fix="write it so")
    return folds


def _is_fold(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(part), list) and value[part] and all(isinstance(one, str) for one in value[part])
        for part in ("train", "val")
    )


def stratified_sample(has_region: Mapping[str, bool], count: int, seed: int) -> tuple[str, ...]:
    """Draws cases, with and without the region in the proportion of all, but one that has it if any does.

    Args:
        has_region: case name to whether it has voxels of the region; the order plays no part.
        count: how many, from 1 to all of them.
        seed: another seed draws other cases.

    Returns:
        The names, sorted.
    """
    dealt = _shuffled(has_region, seed)
    return tuple(sorted(dealt[place * len(dealt) // count] for place in range(count)))


def _shuffled(has_region: Mapping[str, bool], seed: int) -> list[str]:
    """Cases with the region first; within both kinds by a hash of name and seed."""
    shuffled = sorted(
        has_region,
        key=lambda name: hashlib.sha256(f"{seed}:{name}".encode(errors="surrogateescape")).digest(),
    )
    return sorted(shuffled, key=lambda name: not has_region[name])
