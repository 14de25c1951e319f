"""Cross-validation folds: seeded, stratified, independent of the order of files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import counted


def stratified_folds(has_tumour: Mapping[str, bool], folds: int, seed: int) -> list[tuple[str, ...]]:
    """Deals cases into folds whose sizes, and whose shares of tumour-free cases, differ by one at most.

    A case's place follows from a hash of its name and the seed, on any machine and library version;
    the order of `has_tumour` plays no part (the order of LiTS' files is not random).

    Args:
        has_tumour: case name to whether it has tumour voxels.
        folds: how many.
        seed: another one deals anew.

    Returns:
        For each fold its case names, sorted.

    Raises:
        InputError: fewer than two cases, fewer than two folds, or fewer cases than folds.
    """
    if len(has_tumour) < 2:
        raise InputError(
            "config.data.folds",
            found=f"{counted(len(has_tumour), 'case')} to deal into {folds} folds",
            expected="two cases at least: one to train on and another one to validate on",
            fix="prepare a second labelled case into the same cache; `python -m experiments.demo` shows the "
            "program at work on data that it fetches",
        )
    if not 2 <= folds <= len(has_tumour):
        raise InputError(
            "config.data.folds",
            found=f"{folds} folds for {len(has_tumour)} cases",
            expected=f"2 to {len(has_tumour)} folds",
            fix=f"--config.data.folds={min(5, len(has_tumour))}, or name the cases: "
            "--config.data.explicit.train=\"('A', 'B')\" --config.data.explicit.validation=\"('C',)\"",
        )
    dealt = _shuffled(has_tumour, seed)
    return [tuple(sorted(dealt[fold::folds])) for fold in range(folds)]


def stratified_sample(has_tumour: Mapping[str, bool], count: int, seed: int) -> tuple[str, ...]:
    """Draws cases, with and without tumour in the proportion of all, but one with tumour where there is any.

    Args:
        has_tumour: case name to whether it has tumour voxels; the order plays no part.
        count: how many, from 1 to all of them.
        seed: another one draws anew.

    Returns:
        The names, sorted.
    """
    dealt = _shuffled(has_tumour, seed)
    return tuple(sorted(dealt[place * len(dealt) // count] for place in range(count)))


def _shuffled(has_tumour: Mapping[str, bool], seed: int) -> list[str]:
    """Cases with tumour first; within both kinds by a hash of name and seed."""
    shuffled = sorted(
        has_tumour,
        key=lambda name: hashlib.sha256(f"{seed}:{name}".encode(errors="surrogateescape")).digest(),
    )
    return sorted(shuffled, key=lambda name: not has_tumour[name])
