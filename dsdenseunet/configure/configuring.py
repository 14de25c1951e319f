"""From the flags of `experiments.configure` to its files."""

from __future__ import annotations

import dataclasses
import keyword
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from dsdenseunet.configure import choices, config_file, fitting, named_network
from dsdenseunet.configure.choice import Choice
from dsdenseunet.configure.fitting import Fit
from dsdenseunet.configure.recipes import Recipe, recipe_for
from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import counted, one_line
from dsdenseunet.data import patients, preparation
from dsdenseunet.data.fingerprint.data_fingerprint import Fingerprint, fingerprint
from dsdenseunet.data.scans.layouts import find_cases
from dsdenseunet.memory import cards
from dsdenseunet.memory.planner.compiler import Compiler, has_gpu_compiler
from dsdenseunet.memory.planner.planning import touch_no_card
from dsdenseunet.tasks import decathlon
from dsdenseunet.tasks.task import Task
from dsdenseunet.training.settings import check_config

_SUFFIXES = {"fingerprint": ".fingerprint.json", "page": ".html", "folds": ".folds.json"}


@dataclasses.dataclass(frozen=True)
class Configured:
    """What was found and chosen, before any of it is written.

    Attributes:
        fingerprint: of the data.
        task: as the config has it.
        choices: in the order of the page.
        memory: `fitting.Fit.facts`.
        notes: what the user should look at.
        text: of the config.
        folds: for `config.data.fold_file`; empty where cases are dealt one by one.
    """

    fingerprint: Fingerprint
    task: Task
    choices: tuple[Choice, ...]
    memory: dict[str, Any]
    notes: tuple[str, ...]
    text: str
    folds: list[dict[str, list[str]]]


def beside(out: str | os.PathLike[str], what: str) -> Path:
    """The file beside the config that is `fingerprint`, `page` or `folds`."""
    return Path(out).with_suffix(_SUFFIXES[what])


def check_out(out: str, overwrite: bool) -> None:
    """Refuses a name that cannot be a config's, and files that are there.

    Raises:
        InputError: the first fault.
    """
    path = Path(out)
    if path.suffix != ".py" or not path.stem.isidentifier() or keyword.iskeyword(path.stem):
        raise InputError(
            f"--out={out}",
            found="a name that is no Python module's",
            expected="letters, digits and _ before .py, such as configs/my_task.py",
            fix="choose such a name",
        )
    there = [str(one) for one in (path, *(beside(out, what) for what in _SUFFIXES)) if one.exists()]
    if there and not overwrite:
        raise InputError(
            f"--out={out}",
            found=f"{', '.join(there)}: already there",
            expected="names that are free, or --overwrite",
            fix="choose another name; --overwrite replaces the files, with what was changed in them by hand",
        )


def configure(
    data: str,
    *,
    out: str,
    device: str,
    budget_gib: float | None,
    compiled: bool,
    timeout_s: float,
    workers: int,
    cache: str | None,
    network: ConfigDict | None,
    on_case: Callable[[int, int, str], None],
    say: Callable[[str], None],
) -> Configured:
    """Looks at the data, chooses, and makes the config, of which nothing is written.

    Args:
        data: folder of labelled scans.
        out: name of the config's file.
        device: card that must hold a training step.
        budget_gib: what may be used of it; None: all.
        compiled: whether the compiler is asked.
        timeout_s: seconds after which a compilation has failed.
        workers: scans read at once.
        cache: `config.data.cache`; None: one by the config's name.
        network: a config whose network and training are taken; None: those that suit the data.
        on_case: see `fingerprint`.
        say: told of progress, a line each.

    Raises:
        InputError: data that cannot be trained on, a card that is not known, or one too small.
    """
    card = cards.card(device)
    found = fingerprint(data, decathlon.task_of(data), workers, on_case)
    _check(found)
    spacing = choices.spacing(found)
    # As the network sees it.
    seen = found.resampled(spacing.settings["task.spacing_mm"])
    base = read("from configs.base import base_config as get_config")
    recipe = named_network.recipe_of(network, base, seen) if network else recipe_for(seen)
    of_data, of_patients = _of_data(found, spacing, str(beside(out, "folds")))
    name = Path(out).stem
    cache = cache or f"cache-{name}"

    def made(fit: Fit) -> tuple[Task, list[Choice], str]:
        chosen = _in_order(seen, recipe, of_data, fit)
        task = _task(found.task, chosen)
        lines = _docstring(data, out, cache)
        cached = Choice("cache", {"data.cache": cache}, "Where the cache of these data is.")
        title = (
            f"{task.name}: {counted(len(found.cases), 'labelled case')}; written by experiments.configure."
        )
        return task, chosen, config_file.text(title, lines, name, task, [*chosen, cached])

    fit = fitting.unchecked(recipe, "the compiler was not asked (--nocompile); experiments.plan_memory does.")
    if compiled:
        touch_no_card()
        compiler = Compiler(card if has_gpu_compiler() else None, say, timeout_s)
        voxels = sum(int(np.prod(case.shape)) for case in seen.cases)
        fit = fitting.fit(read(made(fit)[2]), recipe, voxels, card, budget_gib, compiler, say)
    task, chosen, text = made(fit)
    check_config(read(text))
    folds = _folds(found, task, of_patients, of_data)
    return Configured(found, task, tuple(chosen), fit.facts, tuple(_notes(found)), text, folds)


def read(text: str) -> ConfigDict:
    """The config that the text of a file of configs/ makes."""
    names: dict[str, Any] = {"__name__": "written"}
    exec(compile(text, "the written config", "exec"), names)
    return names["get_config"]()


def write(out: str, configured: Configured) -> dict[str, Any]:
    """Writes the config, its fingerprint and its folds; returns what the page shows."""
    record = {
        "config": Path(out).stem,
        **configured.fingerprint.as_json(),
        "task": configured.task.to_config(),
        "choices": [choice.as_json() for choice in configured.choices],
        "memory": configured.memory,
        "notes": list(configured.notes),
    }
    if configured.folds:
        files.write_json(beside(out, "folds"), configured.folds)
    files.write_json(beside(out, "fingerprint"), record)
    files.write_text(out, configured.text)
    return record


def prepare_cache(configured: Configured, cache: str, workers: int) -> None:
    """Prepares the scans as the config reads them; those that cannot be read are among the notes already.

    Raises:
        InputError: as `preparation.prepare`.
    """
    found = find_cases(configured.fingerprint.data, len(configured.task.channels)).used
    preparation.prepare(found, cache, workers, configured.task)


def _check(found: Fingerprint) -> None:
    if len(found.cases) < 2:
        raise InputError(
            found.data,
            found=f"{counted(len(found.cases), 'labelled case')} that can be read"
            + (f"; {counted(len(found.failures), 'case')} that cannot" if found.failures else ""),
            expected="two at least: one to train on and another one to validate on",
            fix="add labelled cases, or correct those that cannot be read (`python -m experiments.doctor`)",
        )
    if not any(found.foreground):
        raise InputError(
            found.data,
            found="labels of nothing but background",
            expected=f"voxels of {', '.join(found.task.classes[1:])}",
            fix="check that the label files are those of the scans",
        )


def _of_data(found: Fingerprint, spacing: Choice, fold_file: str) -> tuple[dict[str, Choice], dict[str, str]]:
    """The choices that need no network, by title, and the patient of each case where names tell."""
    lesions = choices.lesions(found)
    folds, of_patients = choices.folds(found, fold_file)
    made = [
        choices.normalisation(found),
        spacing,
        choices.strata(found),
        lesions,
        choices.clean_up(found, lesions.settings["task.detect"]),
        folds,
    ]
    return {choice.title: choice for choice in made}, of_patients


def _in_order(seen: Fingerprint, recipe: Recipe, of_data: dict[str, Choice], fit: Fit) -> list[Choice]:
    """Every choice, as the config and the page have them."""
    model = dict(recipe.network.settings["model"])
    model |= {name: getattr(fit.setting, name) for name in ("remat", "dtype") if name in model}
    network = dataclasses.replace(recipe.network, settings={"model": model})
    view = choices.field_of_view(seen, fit.setting.patch)
    patch = dataclasses.replace(fit.choice, why=f"{view} {fit.choice.why}")
    loss, *training = recipe.training
    rest = [of_data[title] for title in of_data if title not in ("normalisation", "folds")]
    sampling = choices.sampling(seen, fit.setting.patch)
    return [of_data["normalisation"], *rest, network, patch, sampling, loss, *training, of_data["folds"]]


def _task(task: Task, chosen: Sequence[Choice]) -> Task:
    """The task with what was chosen of it."""
    changed = {
        field.removeprefix("task."): value
        for choice in chosen
        for field, value in choice.settings.items()
        if field.startswith("task.")
    }
    return Task.of({**task.to_config(), **changed})


def _folds(
    found: Fingerprint, task: Task, of_patients: dict[str, str], of_data: dict[str, Choice]
) -> list[dict[str, list[str]]]:
    if not of_patients:
        return []
    having = [case.name for case in found.having(task.stratify_by)] if task.stratify_by else []
    return patients.folds_by_patient(of_patients, having, of_data["folds"].settings["data.folds"], seed=0)


def _docstring(data: str, out: str, cache: str) -> list[str]:
    name = Path(out).stem
    page, numbers = (beside(out, what).name for what in ("page", "fingerprint"))
    return [
        f"    python -m experiments.prepare --data={data} --config={out} --cache={cache}",
        f"    python -m experiments.train --config={out} --workdir=runs/{name}",
        f"    python -m experiments.predict --workdir=runs/{name} --input=SCANS --output=predictions",
        "    python -m experiments.evaluate --predictions=predictions --references=LABELS "
        f"--config={out} --out=scores",
        "",
        f"Every value can be changed here. Beside this file {page} shows the data and the",
        f"reasons; {numbers} has both for programs.",
    ]


def _notes(found: Fingerprint) -> list[str]:
    """What is odd about the data."""
    counts = np.sum([case.class_voxels for case in found.cases], axis=0)
    absent = [name for name, count in zip(found.task.classes, counts) if not count]
    notes = [f"No case has a voxel of {name}: it cannot be learned." for name in absent]
    orientations = {case.axes for case in found.cases}
    if len(orientations) > 1:
        notes.append(
            f"Files run along {', '.join(sorted(orientations))}; all are turned alike when they are read."
        )
    marked = [case.name for case in found.cases if case.marks]
    if marked:
        notes.append(f"Headers under an assumption, see experiments.doctor: {counted(len(marked), 'case')}.")
    return [*notes, *(f"Left out, {name}: {one_line(message)}" for name, message in found.failures)]
