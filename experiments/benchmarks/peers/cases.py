"""The cases of a comparison: a data set's labelled scans, and the folds of them that are tested."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import counted, some
from dsdenseunet.data import patients, splits
from dsdenseunet.data.scans.layouts import Case, find_cases
from dsdenseunet.tasks.task import Task

DEALT, SEED = 5, 0
# Cases that choose a config's weights, and the fewest that it needs.
CHOOSING = 2
LEAST_TRAINING = CHOOSING + 1


class Fold(NamedTuple):
    """Names of the cases to learn from and of those to be scored."""

    train: tuple[str, ...]
    test: tuple[str, ...]


def labelled(data: str | os.PathLike[str], task: Task) -> dict[str, Case]:
    """The cases with labels, by name.

    Raises:
        InputError: see `find_cases`; or none has labels.
    """
    cases = {case.name: case for case in find_cases(data, len(task.channels)).used if case.labels}
    if not cases:
        raise InputError(data, found="no labels", expected="scans with labels", fix="name another folder")
    return cases


def folds(names: Sequence[str], file: str | None, numbers: Sequence[int]) -> dict[int, Fold]:
    """The folds by their numbers: those of a file, or five that are dealt by a hash of the names.

    Raises:
        InputError: no such fold, or one that names what is not there, or too few cases to train on.
    """
    if file is None:
        dealt = splits.stratified_folds(dict.fromkeys(names, False), DEALT, SEED)
    found = {}
    for number in numbers:
        if file is not None:
            fold = Fold(*splits.read_fold(file, number))
        elif number < DEALT:
            test = dealt[number]
            fold = Fold(tuple(sorted(set(names) - set(test))), test)
        else:
            raise InputError(
                f"--fold={number}",
                found=f"number {number} of {DEALT} folds",
                expected=f"0 to {DEALT - 1}",
                fix="one of these, or --folds=FILE with folds of your own",
            )
        absent = sorted({*fold.train, *fold.test} - set(names))
        if absent or len(fold.train) < LEAST_TRAINING:
            raise InputError(
                f"--fold={number}",
                found=f"cases that are not there: {some(absent)}"
                if absent
                else f"{counted(len(fold.train), 'case')} to train on",
                expected=f"labelled cases of --data, {LEAST_TRAINING} at least to train on",
                fix=f"cases are called as their files are: {some(sorted(names))}",
            )
        found[number] = fold
    return found


def to_choose_by(
    train: Sequence[str], same_patient: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A fold's training cases, and those of them that choose a run's weights instead: the last two.

    The scans of a patient stay together; patients with one scan choose first.

    Args:
        train: names of the fold's training cases.
        same_patient: as `config.data.same_patient`.
    """
    of_patient = patients.by_groups(train, same_patient)
    scans = patients.sizes(of_patient)
    chosen: set[str] = set()
    # Of a patient with few scans first, and from the last on.
    order = sorted(enumerate(train), key=lambda place: (scans[of_patient[place[1]]], -place[0]))
    for _, name in order:
        if len(chosen) < CHOOSING:
            chosen |= {other for other in train if of_patient[other] == of_patient[name]}
    return tuple(name for name in train if name not in chosen), tuple(
        name for name in train if name in chosen
    )
