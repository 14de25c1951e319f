"""A run: its phases one after the other, as in the paper's cascade of two (section 3.2).

Of a config of several stages, networks that look within what those before them find, each stage is a run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from ml_collections import ConfigDict

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.fields import refusal
from dsdenseunet.core.lock import locked
from dsdenseunet.data import patients, stage_cache
from dsdenseunet.data.cache import Cache
from dsdenseunet.data.splits import read_fold, strata
from dsdenseunet.runtime import parallel
from dsdenseunet.runtime.clock import seconds_since_start
from dsdenseunet.runtime.compilation import use_compilation_cache
from dsdenseunet.tasks.task import Task
from dsdenseunet.training import cases, packed, phases, provenance, resume, sinks, stages
from dsdenseunet.training.checkpoint import has_best, latest_step, load_best, phases_in, progress_of
from dsdenseunet.training.faults import explained
from dsdenseunet.training.interruption import StopRequest
from dsdenseunet.training.loop import Phase, run_phase
from dsdenseunet.training.recipe import check_names
from dsdenseunet.training.settings import check_config, config_to_json
from dsdenseunet.training.warm_start import Start

CONFIG_FILE = "config.json"


def run(
    config: ConfigDict,
    workdir: str | Path,
    extend_to: int | None = None,
    earlier_s: float = 0.0,
    stop: StopRequest | None = None,
) -> None:
    """Trains what `config.training.phase` says, continuing where an earlier start in `workdir` stopped.

    Args:
      config: every field of configs/base.py, or of a config of several stages (`stages`), of which each is
        trained in the folder of its name.
      workdir: folder of the run; docs/reference/workdir.md says what is written there.
      extend_to: epochs of the last phase in all, in place of the config's; continues a finished run.
      earlier_s: seconds that this process has spent on other runs, which no budget of this one's counts.
      stop: that is active already (None: one of its own).

    Raises:
        InputError: config, cache or workdir cannot be used, or the run here was started with others.
        Interrupted: a signal asked to stop; the state is saved.
        NonFiniteLossError: loss or gradient is NaN or infinite.
    """
    workdir = Path(workdir).absolute()
    if stages.has_stages(config):
        _run_stages(config, workdir, extend_to, earlier_s, stop)
        return
    config = _resolved(config, extend_to)

    # 1. Refuse everything that cannot work before anything is written.
    check_config(config)
    sinks.check_installed(config.training.log_to)
    for name in phases.selected(config):
        check_names(phases.config_of(config, name), name)
    _check_start(config, workdir, phases.selected(config)[0])
    parallel.check_batch_size(config.data.batch_size, config.training.accumulate, parallel.data_mesh())
    if config.training.budget_seconds and parallel.process_count() > 1:
        raise refusal("training.budget_seconds", "several processes", "0: their clocks differ")
    cache = Cache.open(config.data.cache)
    cache.check_task(Task.of(config.task))
    train_names, validation_names = split(config, cache)
    cache.check_current((*train_names, *validation_names))

    # 2. One process at a time; what changed since the last start is named, or refused.
    use_compilation_cache()
    first = parallel.process_index() == 0
    stopping = StopRequest() if stop is None else contextlib.nullcontext(stop)
    with locked(workdir, "trains") if first else contextlib.nullcontext(), stopping as stop:
        start = provenance.gather(config_to_json(config), cache.fingerprint)
        resume.check(workdir, start, say=print if first else _silent)
        parallel.wait_for_all("every process has checked the workdir")
        if first:
            for line in cases.in_words(cache, train_names, validation_names, workdir):
                print(line)
            provenance.add_start(workdir, {**start, "cases": cases.as_json(train_names, validation_names)})
            files.write_json(workdir / CONFIG_FILE, config_to_json(config))

        # 3. The phases, each from its newest checkpoint or from the best weights before it.
        begun = phases_in(workdir) if config.training.budget_seconds else []
        used_s = max((progress_of(workdir, name).get("seconds", 0.0) for name in begun), default=0.0)
        used_s -= earlier_s
        for name in phases.selected(config):
            own = phases.config_of(config, name)
            phase = Phase(name, own, workdir, cache, train_names, validation_names, used_s)
            with explained(workdir, own):
                run_phase(phase, stop, _start(config, workdir, name))


def _run_stages(
    config: ConfigDict, workdir: Path, extend_to: int | None, earlier_s: float, stop: StopRequest | None
) -> None:
    """Trains each stage in its folder: on the cases' labels, within the labelled region where it looks."""
    stages.check(config)
    if extend_to is not None:
        raise InputError(
            "--extend_to",
            found=f"{extend_to}, for a config of several stages",
            expected="epochs of one stage",
            fix=f"for example --config.stages.{config.stages.order[-1]}.phases.PHASE.epochs={extend_to}",
        )
    layout = stages.Layout.of(config)
    cache = Cache.open(config.data.cache)
    cache.check_task(layout.task)
    names = split(config, cache)
    cache.check_current((*names[0], *names[1]))
    first = parallel.process_index() == 0
    stopping = StopRequest() if stop is None else contextlib.nullcontext(stop)
    with locked(workdir, "trains") if first else contextlib.nullcontext(), stopping as stop:
        if first:
            layout.write(workdir)
        for place in layout.places:
            own, root = stages.config_of(config, place.stage), workdir / stages.CACHES / place.stage
            if first:
                print(f"stage {place}; its cases: {root}", flush=True)
                looks = place.within, place.margin_mm
                stage_cache.derive(
                    cache, root, (*names[0], *names[1]), Task.of(own.task), layout.task, *looks
                )
            parallel.wait_for_all("the stage has its cases")
            there = Cache.open(root).records
            own.data.cache = str(root)
            own.data.explicit.train, own.data.explicit.validation = (
                tuple(name for name in part if name in there) for part in names
            )
            explicit = own.data.explicit
            if not explicit.train or (names[1] and not explicit.validation):
                raise InputError(
                    f"config.stages.{place.stage}.within",
                    found=f"{place.within} in no case to train on, or in none to validate on",
                    expected="cases with that region in both parts",
                    fix="choose another fold (--config.data.fold), or name the cases (config.data.explicit)",
                )
            run(own, workdir / place.stage, earlier_s=earlier_s, stop=stop)
            # A stage's own time begins where the one before it has ended.
            earlier_s = seconds_since_start()
            # A signal that came too late for this stage's steps.
            if place is not layout.places[-1] and stop.agreed():
                raise stop.interrupted(f"the end of stage {place.stage}")


def split(config: ConfigDict, cache: Cache) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the training and of the validation cases.

    Raises:
        InputError: a named case is not in the cache, the file of folds does not have this fold, there
            are fewer cases than folds, or a patient's scans are on both sides.
    """
    explicit, task = config.data.explicit, Task.of(config.task)
    ids = patients.identified({name: cache.record(name).patient for name in cache.names})
    if explicit.train:
        train, validation = tuple(explicit.train), tuple(explicit.validation)
        for name in train + validation:
            cache.record(name)
        _check_stated(config, ids, train, validation, "config.data.explicit")
    elif config.data.fold_file:
        train, validation = read_fold(config.data.fold_file, config.data.fold)
        for name in train + validation:
            cache.record(name)
        where = f"{config.data.fold_file}, fold {config.data.fold}"
        _check_stated(config, ids, train, validation, where)
    else:
        has_region = strata(task, cache, cache.names)
        with_region = [name for name, has in has_region.items() if has]
        of_patient = patients.by_groups(cache.names, config.data.same_patient, ids)
        dealt = patients.deal(of_patient, with_region, config.data.folds, config.data.fold_seed)
        validation = dealt[config.data.fold]
        train = tuple(sorted(set(cache.names) - set(validation)))
        if not config.data.same_patient:
            by_name = patients.patients_of([name for name in cache.names if name not in ids])
            where = f"config.data.fold={config.data.fold}"
            patients.check_apart(train, validation, by_name, where, "their names")
    return train, validation


def _check_stated(
    config: ConfigDict,
    ids: Mapping[str, str],
    train: tuple[str, ...],
    validation: tuple[str, ...],
    where: str,
) -> None:
    """Refuses sides that part the scans of a patient whom the config or DICOM names."""
    of_patient = patients.by_groups(train + validation, config.data.same_patient)
    patients.check_apart(train, validation, of_patient, where, "config.data.same_patient")
    patients.check_apart(train, validation, ids, where, "the PatientID of their DICOM files")


def _silent(message: str) -> None:
    """Only the first process prints messages."""


def _check_start(config: ConfigDict, workdir: Path, name: str) -> None:
    """Refuses a phase whose first weights are not there."""
    start = config.phases[name].start
    if start == phases.RANDOM or latest_step(workdir, name) is not None:
        return
    source = phases.source_phase(start)
    if source is None and packed.is_packed(start):
        packed.load(start)
    elif source is None and not phases_in(start):
        raise InputError(
            f"config.phases.{name}.start",
            found=f"{start!r}, which holds no run",
            expected=f"{phases.RANDOM}, {phases.BEST}PHASE, the folder of a run that has been validated, or "
            "a weights.safetensors of experiments.export",
            fix=f"correct the path with --config.phases.{name}.start=DIR",
        )
    if source is not None and not has_best(workdir, source):
        raise InputError(
            workdir,
            found=f"no best weights of {source}",
            expected=f"{source} to be trained before {name}",
            fix=f"run with --config.training.phase={phases.ALL}, or name the folder of another run with "
            f"--config.phases.{name}.start=DIR",
        )


def _start(config: ConfigDict, workdir: Path, name: str) -> Start | None:
    """What a phase starts from, None for random weights and for a phase that has begun."""
    start, leave_out = config.phases[name].start, tuple(config.phases[name].leave_out)
    if start == phases.RANDOM or latest_step(workdir, name) is not None:
        return None
    source = phases.source_phase(start)
    if source is None:
        return Start(f"the best weights in {start}", packed.load(start)[1], leave_out)
    return Start(f"the best weights of {source} in {workdir}", load_best(workdir, source)[1], leave_out)


def _resolved(config: ConfigDict, extend_to: int | None) -> ConfigDict:
    resolved = ConfigDict(config.to_dict())
    if extend_to is not None:
        check_config(resolved)
        resolved.phases[phases.selected(resolved)[-1]].epochs = extend_to
    return resolved.lock()
