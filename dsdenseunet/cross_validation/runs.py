"""Which runs a command of `experiments.train` stands for: folds and seeds, each in a folder of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import some
from dsdenseunet.data import splits
from dsdenseunet.data.cache import Cache
from dsdenseunet.training import cascade, stages

ALL = "all"
_SECONDS_PER_HOUR = 3600


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of several: its folder, and its config, which says its fold and its seed."""

    workdir: Path
    config: ConfigDict


def of_command(
    config: ConfigDict,
    workdir: str | Path,
    fold: str | None = None,
    seeds: int | None = None,
    budget_hours: float | None = None,
) -> list[Run]:
    """The runs, in the order in which they are trained; of neither folds nor seeds, the one in `workdir`.

    Args:
        config: every field of configs/base.py, or of a config of several stages.
        workdir: the run's folder; of several runs the folder of theirs, `foldK`, `seedS` or `foldK/seedS`.
        fold: what `config.data.fold` is, or "all" for each of the folds that there are.
        seeds: how many runs there are of each fold; their `config.seed` are this one and those that follow.
        budget_hours: hours of wall time that the runs have together, each an equal share; of that each stage
            of a cascade has as much as its steps are of all.

    Raises:
        InputError: a config that cannot be used; or folds, where the config names the cases.
    """
    changes: list[tuple[str, dict[str, object]]] = [("", {})]
    if fold is not None:
        changes = [(f"fold{number}", {"data.fold": number}) for number in _folds(config, fold)]
    if seeds is not None:
        changes = [
            (str(Path(folder) / f"seed{seed}"), {**changed, "seed": seed})
            for folder, changed in changes
            for seed in range(config.seed, config.seed + seeds)
        ]
    runs = []
    for folder, changed in changes:
        own = ConfigDict(config.to_dict())
        own.update_from_flattened_dict(changed)
        stages.check(own)
        if budget_hours is not None:
            seconds = budget_hours * _SECONDS_PER_HOUR / len(changes)
            own.update_from_flattened_dict(stages.shares_of_time(own, seconds))
        runs.append(Run(Path(workdir) / folder, own.lock()))
    return runs


def held_out(runs: Sequence[Run]) -> dict[int, tuple[str, ...]]:
    """The cases that each fold's runs do not train on.

    Raises:
        InputError: a fold that cannot be trained on the cache's cases, or a case that two folds hold out.
    """
    cache = Cache.open(runs[0].config.data.cache)
    found = {run.config.data.fold: cascade.split(run.config, cache)[1] for run in runs}
    fold_of: dict[str, int] = {}
    for fold, names in found.items():
        if twice := [name for name in names if name in fold_of]:
            raise InputError(
                runs[0].config.data.fold_file,
                found=f"{some(twice)} in val of folds {fold_of[twice[0]]} and {fold}",
                expected="each case held out by one fold at most: it is scored once",
                fix=f"correct the file, or train single folds: --fold={fold}",
            )
        fold_of |= dict.fromkeys(names, fold)
    return found


def _folds(config: ConfigDict, fold: str) -> Sequence[int]:
    stages.check(config)
    if config.data.explicit.train:
        raise InputError(
            f"--fold={fold}",
            found="config.data.explicit, which names the cases",
            expected="cases that are dealt, or folds of config.data.fold_file",
            fix="leave out --fold, or config.data.explicit",
        )
    file = config.data.fold_file
    count = splits.count_folds(file) if file else config.data.folds
    if fold == ALL:
        return range(count)
    if not fold.isdecimal() or int(fold) >= count:
        raise InputError(
            f"--fold={fold}",
            found=repr(fold),
            expected=f"{ALL}, or a fold in 0..{count - 1}",
            fix=f"--fold={ALL}, or --fold=0",
        )
    return [int(fold)]
