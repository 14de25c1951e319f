"""Versions of the stored config: fields that older runs did not have, or that had other names.

A run's config outlives the version that made it. It is stored with the number of its schema; where a field is
added, renamed or dropped, or a value is no longer known, the number goes up by one and `_CHANGES` says what
older runs had in its place. Configs without a number are of schema 1.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dsdenseunet.core.errors import InputError
from dsdenseunet.tasks import lits

KEY = "schema"


@dataclasses.dataclass(frozen=True)
class Change:
    """What a schema changed against the one before; fields by their dotted names.

    Attributes:
        renamed: old name to new name.
        dropped: fields that no longer exist and have no effect.
        replaced: field to (old value to new value).
        added: field to the value that runs had in effect before there was the field.
        computed: field to its value, made of the older config as a whole.
    """

    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    replaced: Mapping[str, Mapping[Any, Any]] = dataclasses.field(default_factory=dict)
    added: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    computed: Mapping[str, Callable[[Mapping[str, Any]], Any]] = dataclasses.field(default_factory=dict)


_PLAIN_PHASE = (
    ("leave_out", ()),
    ("frozen", ()),
    ("learning_rate", 0.0),
    ("schedule", ""),
    ("warm_up_steps", -1),
)


def _start_of_phase2(training: Mapping[str, Any]) -> str:
    """Phase 2 alone started from another run, if one was named, else from the best weights of phase 1."""
    return (training["phase"] == "phase2" and training["init_from"]) or "best:phase1"


def _clean_up(inference: Mapping[str, Any]) -> tuple[tuple[Any, ...], ...]:
    """The rules that two fields stood for."""
    largest = (("largest", "liver"),) if inference["largest_component"] else ()
    distance_mm = inference["tumour_within_liver_mm"]
    within = (("within", "tumour", "liver", distance_mm),) if distance_mm >= 0 else ()
    return largest + within


# By the schema's number, from 2 on without gaps.
_CHANGES: dict[int, Change] = {
    2: Change(
        # Losses have several terms.
        renamed={"loss.class_weights": "loss.cross_entropy.class_weights"},
        # Which convolutions the backward pass computes again; nothing that a run's results depend on.
        replaced={"model.remat": {"block": "layer"}},
        added={
            # The best weights were chosen by whole volumes.
            "training.validate_patches": 0,
            "loss.cross_entropy.weight": 1.0,
            "loss.dice.weight": 0.0,
            "loss.dice.over": "batch",
            "loss.focal.weight": 0.0,
            "loss.focal.class_weights": (1.0, 1.0, 1.0),
            "loss.focal.gamma": 2.0,
            "loss.tversky.weight": 0.0,
            "loss.tversky.alpha": 0.3,
            "loss.tversky.beta": 0.7,
            "loss.tversky.over": "batch",
            "optimizer.name": "sgd",
            "optimizer.nesterov": False,
            "optimizer.beta1": 0.9,
            "optimizer.beta2": 0.999,
            "optimizer.epsilon": 1e-8,
            "optimizer.weight_decay": 0.0,
            "optimizer.clip_norm": 0.0,
            "optimizer.schedule": "step",
            "optimizer.warm_up_steps": 0,
            "optimizer.decay_power": 0.9,
        },
    ),
    3: Change(
        # A run has any number of phases, and another task than LiTS.
        renamed={
            "loss.ignore_label": "task.ignore_label",
            "training.phase1_epochs": "phases.phase1.epochs",
            "training.phase2_epochs": "phases.phase2.epochs",
        },
        dropped=(
            "training.init_from",
            "optimizer.restart_in_phase2",
            "data.hu_window",
            "inference.largest_component",
            "inference.tumour_within_liver_mm",
        ),
        added={
            "loss.deep_supervision": (),
            "data.fold_file": "",
            "model.auxiliary_outputs": 0,
            # Zoom and mirror were all.
            "augment.rotation.probability": 0.0,
            "augment.rotation.degrees": (15.0, 15.0, 15.0),
            "augment.scaling.probability": 0.0,
            "augment.scaling.range": (0.85, 1.15),
            "augment.noise.probability": 0.0,
            "augment.noise.range": (0.0, 0.1),
            "augment.blur.probability": 0.0,
            "augment.blur.range": (0.5, 1.0),
            "augment.brightness.probability": 0.0,
            "augment.brightness.range": (-0.1, 0.1),
            "augment.contrast.probability": 0.0,
            "augment.contrast.range": (0.75, 1.25),
            "augment.low_resolution.probability": 0.0,
            "augment.low_resolution.range": (0.5, 1.0),
            "augment.gamma.probability": 0.0,
            "augment.gamma.range": (0.7, 1.5),
            "training.budget_seconds": 0.0,
            "optimizer.muon_scale": 5.0,
            "optimizer.muon_parameters": ("params/block*", "params/transition*", "params/up*"),
            "phases.order": ("phase1", "phase2"),
            **{
                f"phases.{name}.{field}": then
                for name in ("phase1", "phase2")
                for field, then in _PLAIN_PHASE
            },
            "phases.phase1.continue_schedule": False,
            **{
                f"task.{name}": value
                for name, value in lits.TASK.to_config().items()
                if name not in ("ignore_label", "channels", "clean_up", "spacing_mm")
            },
        },
        computed={
            "task.channels": lambda old: (("CT", "window", *old["data"]["hu_window"]),),
            "task.clean_up": lambda old: _clean_up(old["inference"]),
            "phases.phase1.start": lambda old: old["training"]["init_from"] or "random",
            "phases.phase2.start": lambda old: _start_of_phase2(old["training"]),
            "phases.phase2.continue_schedule": lambda old: not old["optimizer"]["restart_in_phase2"],
        },
    ),
    4: Change(
        added={
            # Every scan kept its own.
            "task.spacing_mm": (),
            "augment.elastic.probability": 0.0,
            "augment.elastic.range": (0.0, 3.0),
            "augment.elastic.distance": (10.0, 10.0, 10.0),
        },
    ),
    5: Change(
        added={
            # Cases were dealt one by one.
            "data.same_patient": (),
            # The most probable class was taken.
            "inference.thresholds": (),
            "training.log_to": ("tensorboard",),
            "training.profile_steps": (),
        },
        # The seed of training dealt the cases, too.
        computed={"data.fold_seed": lambda old: old["seed"]},
    ),
    6: Change(
        # Patches were predicted as they lie.
        added={"inference.rotation_degrees": 0.0},
    ),
}


def current() -> int:
    """The schema that this version writes."""
    return 1 + len(_CHANGES)


def upgrade(values: Any, where: str | Path) -> dict[str, Any]:
    """A stored config, of this schema or an older one, with the fields of the current one.

    Args:
        values: the parsed JSON.
        where: the file that it is from, for messages.

    Raises:
        InputError: no config, made by a newer version, or without a field that its schema has.
    """
    if not isinstance(values, Mapping):
        raise of_another_version(where, f"{type(values).__name__} in place of the fields")
    upgraded = copy.deepcopy(dict(values))
    number = upgraded.pop(KEY, 1)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise of_another_version(where, f"schema {number!r}")
    if number > current():
        raise InputError(
            where,
            found=f"a config of schema {number}: the run was made by a newer version of this program",
            expected=f"schema {current()} or older",
            fix="use that version or a later one; provenance.json in the run's folder names its commit",
        )
    for later in range(number + 1, current() + 1):
        _apply(_CHANGES[later], upgraded, where)
    return upgraded


def of_another_version(where: str | Path, found: str) -> InputError:
    """The error for a stored config that does not match its schema."""
    return InputError(
        where,
        found=f"a config of another version, or an edited one: {found}",
        expected=f"the fields of schema {current()} or of an older one",
        fix="use the version that made the run (provenance.json in its folder names the commit), or copy the "
        "folder again from where it was made",
    )


def _apply(change: Change, values: dict[str, Any], where: str | Path) -> None:
    try:
        computed = {name: compute(values) for name, compute in change.computed.items()}
    except (KeyError, TypeError) as error:
        raise of_another_version(where, f"no {error.args[0]}") from error
    for old, new in change.renamed.items():
        _set(values, new, _take(values, old, where), where)
    for name in change.dropped:
        _take(values, name, where)
    for name, by_old in change.replaced.items():
        value = _take(values, name, where)
        _set(values, name, next((new for old, new in by_old.items() if old == value), value), where)
    for name, value in {**change.added, **computed}.items():
        _set(values, name, value, where)


def _take(values: dict[str, Any], name: str, where: str | Path) -> Any:
    section, last = _section(values, name, where)
    if last not in section:
        raise of_another_version(where, f"no {name}")
    return section.pop(last)


def _set(values: dict[str, Any], name: str, value: Any, where: str | Path) -> None:
    section, last = _section(values, name, where)
    section[last] = value


def _section(values: dict[str, Any], name: str, where: str | Path) -> tuple[dict[str, Any], str]:
    *path, last = name.split(".")
    for part in path:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise of_another_version(where, f"{part} = {values!r}")
    return values, last
