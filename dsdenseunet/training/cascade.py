"""The paper's two-phase cascade (section 3.2): phase 1's best weights start phase 2."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.cache import Cache
from dsdenseunet.data.splits import stratified_folds
from dsdenseunet.runtime import parallel
from dsdenseunet.runtime.compilation import use_compilation_cache
from dsdenseunet.training import cases, provenance, resume
from dsdenseunet.training.checkpoint import has_best, load_best
from dsdenseunet.training.faults import explained
from dsdenseunet.training.interruption import StopRequest
from dsdenseunet.training.lock import locked
from dsdenseunet.training.loop import Phase, run_phase
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.settings import check_config, config_to_json

CONFIG_FILE = "config.json"
_PHASES_OF = {"all": (1, 2), "phase1": (1,), "phase2": (2,)}


def run(config: ConfigDict, workdir: str | Path, extend_to: int | None = None) -> None:
    """Trains what `config.training.phase` says, going on where an earlier start in `workdir` stopped.

    Args:
      config: every field of configs/base.py.
      workdir: folder of the run; docs/reference/workdir.md says what is written there.
      extend_to: epochs of the last phase in all, in place of the config's; continues a finished run.

    Raises:
        InputError: config, cache or workdir cannot be used, or the run here was started with others.
        Interrupted: a signal asked to stop; the state is saved.
        NonFiniteLossError: loss or gradient is NaN or infinite.
    """
    workdir = Path(workdir).absolute()
    config = _resolved(config, extend_to)

    # 1. Refuse everything that cannot work before anything is written.
    check_config(config)
    build_recipe(config)
    parallel.check_batch_size(config.data.batch_size, config.training.accumulate, parallel.data_mesh())
    cache = Cache.open(config.data.cache)
    check_classes(config, cache)
    train_names, validation_names = split(config, cache)
    cache.check_current((*train_names, *validation_names))

    # 2. One process at a time; what changed since the last start is named, or refused.
    use_compilation_cache()
    first = parallel.process_index() == 0
    with locked(workdir) if first else contextlib.nullcontext(), StopRequest() as stop:
        start = provenance.gather(config_to_json(config), cache.fingerprint)
        resume.check(workdir, start, say=print if first else _silent)
        parallel.wait_for_all("every process has checked the workdir")
        if first:
            for line in cases.in_words(cache, train_names, validation_names, workdir):
                print(line)
            provenance.add_start(workdir, {**start, "cases": cases.as_json(train_names, validation_names)})
            files.write_json(workdir / CONFIG_FILE, config_to_json(config))

        # 3. The phases, each from its newest checkpoint or from the best weights before it.
        for number in _PHASES_OF[config.training.phase]:
            epochs = config.training[f"phase{number}_epochs"]
            phase = Phase(number, epochs, config, workdir, cache, train_names, validation_names)
            with explained(workdir, config):
                run_phase(phase, stop, _first_weights(config, workdir, number))


def check_classes(config: ConfigDict, cache: Cache) -> None:
    """Refuses a cache whose labels have other classes than the network.

    Raises:
        InputError: the first case that has.
    """
    for name in cache.names:
        classes = len(cache.record(name).label_counts)
        if classes != config.model.num_classes:
            raise InputError(
                cache.root,
                found=f"{name} was prepared with {classes} classes",
                expected=f"{config.model.num_classes}, as config.model.num_classes says",
                fix="prepare the data set again into a new folder: python -m experiments.prepare",
            )


def split(config: ConfigDict, cache: Cache) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the training and of the validation cases.

    Raises:
        InputError: a named case is not in the cache, or there are fewer cases than folds.
    """
    explicit = config.data.explicit
    if explicit.train:
        train, validation = tuple(explicit.train), tuple(explicit.validation)
        for name in train + validation:
            cache.record(name)
    else:
        folds = stratified_folds(cache.has_tumour(), config.data.folds, config.seed)
        validation = folds[config.data.fold]
        train = tuple(sorted(set(cache.names) - set(validation)))
    return train, validation


def _silent(message: str) -> None:
    """The other processes leave talking to the first."""


def _first_weights(config: ConfigDict, workdir: Path, phase: int) -> tuple[str, Mapping[str, Any]] | None:
    if phase == 2 and has_best(workdir, phase=1):
        return f"the best weights of phase 1 in {workdir}", load_best(workdir, phase=1)[1]
    source = config.training.init_from
    if source:
        return f"the best weights in {source}", load_best(source)[1]
    if phase == 2:
        raise InputError(
            workdir,
            found="no best weights of phase 1",
            expected="phase 1 to be trained before phase 2",
            fix="run with --config.training.phase=all, or name the workdir of another run with "
            "--config.training.init_from=DIR",
        )
    return None


def _resolved(config: ConfigDict, extend_to: int | None) -> ConfigDict:
    resolved = ConfigDict(config.to_dict())
    if extend_to is not None:
        last = _PHASES_OF[config.training.phase][-1]
        resolved.training[f"phase{last}_epochs"] = extend_to
    return resolved.lock()
