"""Cross-validation folds: seeded, stratified, independent of the order of files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from dsdenseunet.errors import InputError


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
        InputError: fewer than two folds, or fewer cases than folds.
    """
    if not 2 <= folds <= len(has_tumour):
        raise InputError(
            "config.data.folds",
            found=f"{folds} folds for {len(has_tumour)} cases",
            expected="at least 2 folds and a case for each",
            fix="set config.data.folds, or name the cases in config.data.explicit",
        )
    shuffled = sorted(has_tumour, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    dealt = [name for name in shuffled if has_tumour[name]] + [n for n in shuffled if not has_tumour[n]]
    return [tuple(sorted(dealt[fold::folds])) for fold in range(folds)]
