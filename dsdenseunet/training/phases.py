"""The phases of a run, as `config.phases` lists them.

A phase's name is also the folder of its checkpoints. Its number, its place in the order, decides what it
draws.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.fields import Check, choice, integer, number, refusal, sequence, text, truth
from dsdenseunet.models import registry
from dsdenseunet.training import schedules

ALL, RANDOM, BEST = "all", "random", "best:"
_SECTION, _ORDER, _MODEL = "phases", "phases.order", "model"
# What a network is to data and loss is the same in all phases.
_OF_ALL = ("family", "in_channels", "num_classes", "auxiliary_outputs")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
# Names that mean something else in a config or in a run's folder.
_TAKEN = (ALL, "order", "failure", "tensorboard", "out_of_fold")
_FIELDS: Mapping[str, Check] = {
    "epochs": integer(1),
    "start": text,
    "leave_out": sequence(text),
    "frozen": sequence(text),
    "learning_rate": number(low=0),
    "schedule": choice("", *schedules.NAMES),
    "warm_up_steps": integer(-1),
    "continue_schedule": truth,
}


def names(config: ConfigDict) -> tuple[str, ...]:
    """All phases, in their order."""
    return tuple(config.phases.order)


def selected(config: ConfigDict) -> tuple[str, ...]:
    """The phases that `config.training.phase` says to train, in their order."""
    only = config.training.phase
    return names(config) if only == ALL else (only,)


def source_phase(start: str) -> str | None:
    """The phase that `start` takes the best weights of, None where it is another run or nothing."""
    return start.removeprefix(BEST) if start.startswith(BEST) else None


def config_of(config: ConfigDict, name: str) -> ConfigDict:
    """The config of one phase: its own fields of `model` are in the place of the run's."""
    own = config.phases[name].get(_MODEL)
    if not own:
        return config
    changed = ConfigDict(config.to_dict())
    changed.model.update(own)
    return changed.lock()


def field_checks(values: Iterable[str]) -> dict[str, Check]:
    """The check of each field of `config.phases`; those of a phase's `model` are the network's to check.

    Args:
        values: dotted names of all fields that a config has; they say which phases there are.
    """
    parts = [name.split(".") for name in values]
    found = {part[1] for part in parts if len(part) == 3 and part[0] == _SECTION}
    checks = {f"{_SECTION}.{name}.{field}": check for name in found for field, check in _FIELDS.items()}
    own = {".".join(part): _any for part in parts if len(part) == 4 and part[::2] == [_SECTION, _MODEL]}
    return {_ORDER: sequence(text, shortest=1), **checks, **own}


def _any(value: Any) -> None:
    del value


def check(config: ConfigDict) -> None:
    """Checks how the phases fit together; each field by itself has been checked.

    Raises:
        InputError: the first that does not.
    """
    order, known = names(config), sorted(set(config.phases) - {"order"})
    for name in known:
        if not _NAME.fullmatch(name) or name in _TAKEN:
            expected = f"a-z, 0-9 and _, a letter first, and none of {', '.join(_TAKEN)}"
            raise refusal(f"{_SECTION}.{name}", "a phase of this name", expected)
    if unknown := [name for name in order if not config.phases.get(name)]:
        raise refusal(_ORDER, ", ".join(unknown), f"names of config.phases: {', '.join(known)}")
    if len(set(order)) != len(order):
        raise refusal(_ORDER, repr(order), "each phase once")
    if config.training.phase not in (ALL, *order):
        expected = f"one of {ALL}, {', '.join(order)}"
        raise refusal("training.phase", repr(config.training.phase), expected)
    for place, name in enumerate(order):
        _check_phase(config.phases[name], f"{_SECTION}.{name}", order[:place])
        _check_model(config, name)


def _check_phase(phase: Mapping[str, Any], where: str, earlier: tuple[str, ...]) -> None:
    source = source_phase(phase["start"])
    if source is not None and source not in earlier:
        expected = f"{BEST} and an earlier phase ({', '.join(earlier) or 'there is none'})"
        raise refusal(f"{where}.start", repr(phase["start"]), expected)
    if phase["start"] == RANDOM and phase["leave_out"]:
        found = f"{phase['leave_out']!r}, but nothing is loaded (start = {RANDOM!r})"
        raise refusal(f"{where}.leave_out", found, "()")
    if phase["continue_schedule"] and not earlier:
        raise refusal(f"{where}.continue_schedule", "True in the first phase", "False")


def _check_model(config: ConfigDict, name: str) -> None:
    where = f"{_SECTION}.{name}.{_MODEL}"
    if fixed := [field for field in config.phases[name].get(_MODEL, {}) if field in _OF_ALL]:
        raise refusal(f"{where}.{fixed[0]}", "set for one phase", "config.model's in all phases")
    try:
        registry.check_fields(config_of(config, name).model)
    except InputError as error:
        raise refusal(error.where.replace("config.model", where, 1), error.found, error.expected) from error
