"""What predicts with trained runs: one network, several runs together, or the stages of cascades."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans.layouts import natural_key
from dsdenseunet.inference import cascade, ensemble
from dsdenseunet.inference.predict import Predictor, Segmenter
from dsdenseunet.tasks.task import Task
from dsdenseunet.training import packed, temperature
from dsdenseunet.training.settings import set_by_flags
from dsdenseunet.training.stages import Layout

_CLEAN_UP = "task.clean_up"
# What `experiments.train --fold --seeds` calls the folders of its runs.
_RUN = re.compile(r"(fold|seed)[0-9]+")


@dataclasses.dataclass(frozen=True)
class Trained:
    """Trained networks, ready to predict.

    Attributes:
        segmenter: what they do together.
        configs: of each network.
        in_words: names and folders, for the terminal.
    """

    segmenter: Segmenter
    configs: tuple[ConfigDict, ...]
    in_words: str


def load(
    workdirs: Sequence[str],
    phase: str | None = None,
    given: Mapping[str, tuple[str, Any]] | None = None,
    calibrated: bool = False,
) -> Trained:
    """The best weights of runs, or of cascades: of several, each stage's class probabilities are averaged.

    Args:
        workdirs: folders of runs, or files of weights (`packed`); or folders of cascades with the same
            stages; that of a cross-validation, or of several seeds, stands for all runs in it.
        phase: whose weights (None: of each network the last phase's).
        given: fields of the config in place of the runs' own, as `set_by_flags` takes them. In a cascade,
            `task.clean_up` is that of the whole task, and all others hold for every stage.
        calibrated: whether stored probabilities have the runs' temperature, where one was found.

    Raises:
        InputError: a folder without best weights, a value that does not fit, runs that do not go together, or
            what `temperature.of_runs` refuses.
    """
    given = given or {}
    workdirs = [run for workdir in workdirs for run in runs_in(workdir) or [workdir]]
    layouts = {workdir: Layout.read(workdir) for workdir in workdirs}
    first = layouts[workdirs[0]]
    for workdir, layout in layouts.items():
        _check_alike(workdirs[0], first, workdir, layout)
    if first is None:
        runs = _of_runs(workdirs, phase, given)
        return _at(temperature.of_runs(workdirs, phase), runs) if calibrated else runs
    own = {name: value for name, value in given.items() if name != _CLEAN_UP}
    parts = {
        place: _of_runs([f"{workdir}/{place.stage}" for workdir in workdirs], phase, own)
        for place in first.places
    }
    whole = ConfigDict({"task": first.task.to_config()})
    set_by_flags(whole, {name: value for name, value in given.items() if name == _CLEAN_UP})
    stages = [
        cascade.Stage(place.stage, part.segmenter, place.within, place.margin_mm)
        for place, part in parts.items()
    ]
    names = " and then ".join(place.stage for place in first.places)
    return Trained(
        cascade.of_stages(stages, Task.of(whole.task)),
        tuple(config for part in parts.values() for config in part.configs),
        f"{names} of {first.name} from {' and '.join(workdirs)}",
    )


def runs_in(workdir: str) -> list[str]:
    """The runs in a folder of folds and seeds: `foldK`, `seedS` or `foldK/seedS`, in their order."""
    if not (folder := Path(workdir)).is_dir():
        return []
    below = [path.name for path in folder.iterdir() if _RUN.fullmatch(path.name)]
    inner = [str(folder / name) for name in sorted(below, key=natural_key)]
    return [run for one in inner for run in runs_in(one) or [one]]


def _of_runs(workdirs: Sequence[str], phase: str | None, given: Mapping[str, tuple[str, Any]]) -> Trained:
    runs = {workdir: packed.load(workdir, phase) for workdir in workdirs}
    for config, _ in runs.values():
        set_by_flags(config, given)
    configs = tuple(config for config, _ in runs.values())
    return Trained(ensemble.of_runs(runs), configs, ensemble.in_words(runs))


def _at(found: float, runs: Trained) -> Trained:
    """Runs whose stored probabilities have a temperature."""
    assert isinstance(runs.segmenter, Predictor | ensemble.Ensemble)
    in_words = runs.in_words if found == 1 else f"{runs.in_words} at temperature {found:.3g}"
    segmenter = dataclasses.replace(runs.segmenter, temperature=found)
    return dataclasses.replace(runs, segmenter=segmenter, in_words=in_words)


def _check_alike(first: str, layout: Layout | None, other: str, its: Layout | None) -> None:
    """Refuses to average cascades whose stages differ, or a cascade and a run."""
    if layout is None and its is None:
        return
    if layout is None or its is None or (layout.places, layout.task) != (its.places, its.task):
        raise InputError(
            f"--workdir={other}",
            found=_in_words(its),
            expected=f"{_in_words(layout)}, as of --workdir={first}: each stage's probabilities are averaged",
            fix="name runs of one kind",
        )


def _in_words(layout: Layout | None) -> str:
    if layout is None:
        return "a run of one network"
    return f"a cascade of {'; '.join(map(str, layout.places))}; for {layout.task.in_words()}"
