"""What a training config may hold; everything else is refused before anything is touched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.core import fields
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.fields import Check, choice, integer, number, refusal, sequence, text, truth
from dsdenseunet.data import appearance
from dsdenseunet.losses import combine
from dsdenseunet.models import registry
from dsdenseunet.tasks import task
from dsdenseunet.training import optimizer, phases, schedules, schema, sinks


def _steps(value: Any) -> str | None:
    """What `training.profile_steps` has to be, None where it is that."""
    if sequence(integer(1))(value) is None and (not value or (len(value) == 2 and value[0] <= value[1])):
        return None
    return "(first, last) step, from 1, or () for none"


# Every field but those that a family of networks, a term of the loss or a phase checks.
_FIELDS: Mapping[str, Check] = {
    "name": text,
    "seed": integer(0),
    **{f"task.{name}": check for name, check in task.CHECKS.items()},
    "loss.deep_supervision": sequence(number(above=0)),
    "optimizer.name": choice(*optimizer.NAMES),
    "optimizer.learning_rate": number(above=0),
    "optimizer.momentum": number(low=0, high=1),
    "optimizer.nesterov": truth,
    "optimizer.beta1": number(low=0, below=1),
    "optimizer.beta2": number(low=0, below=1),
    "optimizer.epsilon": number(above=0),
    "optimizer.muon_scale": number(above=0),
    "optimizer.muon_parameters": sequence(text, shortest=1),
    "optimizer.weight_decay": number(low=0),
    "optimizer.clip_norm": number(low=0),
    "optimizer.schedule": choice(*schedules.NAMES),
    "optimizer.warm_up_steps": integer(0),
    "optimizer.decay_power": number(above=0),
    "optimizer.decay_factor": number(above=0, high=1),
    "optimizer.decay_epochs": integer(1),
    "optimizer.lr_floor": number(low=0),
    "data.cache": text,
    "data.folds": integer(2),
    "data.fold": integer(0),
    "data.fold_seed": integer(0),
    "data.fold_file": lambda value: None if isinstance(value, str) else "a file, or '' for none",
    "data.same_patient": sequence(sequence(text, shortest=2)),
    "data.explicit.train": sequence(text),
    "data.explicit.validation": sequence(text),
    "data.patch_size": sequence(integer(1), 3),
    "data.batch_size": integer(1),
    "data.centre_share": sequence(number(low=0, high=1)),
    "data.scale_range": sequence(number(above=0), 2),
    "data.scale_axes": choice("in_plane", "all"),
    "data.mirror_probability": sequence(number(low=0, high=1), 3),
    "data.augment_on_device": truth,
    "data.workers": integer(0),
    "data.threads": integer(1),
    "data.prefetch": integer(1),
    **{
        f"augment.{name}.probability": number(low=0, high=1)
        for name in ("rotation", "scaling", "elastic", *appearance.NAMES)
    },
    "augment.rotation.degrees": sequence(number(low=0, high=180), 3),
    "augment.scaling.range": sequence(number(above=0), 2),
    "augment.elastic.range": sequence(number(low=0), 2),
    "augment.elastic.distance": sequence(number(above=0), 3),
    "augment.noise.range": sequence(number(low=0), 2),
    "augment.blur.range": sequence(number(low=0), 2),
    "augment.brightness.range": sequence(number(), 2),
    "augment.contrast.range": sequence(number(low=0), 2),
    "augment.low_resolution.range": sequence(number(above=0, high=1), 2),
    "augment.gamma.range": sequence(number(above=0), 2),
    "training.phase": text,
    "training.steps_per_epoch": integer(1),
    "training.budget_seconds": number(low=0),
    "training.accumulate": integer(1),
    "training.validate_epochs": integer(0),
    "training.validate_patches": integer(0),
    "training.validate_cases": integer(0),
    "training.checkpoint_epochs": integer(1),
    "training.profile_steps": _steps,
    "training.log_to": sequence(choice(*sinks.NAMES)),
    "inference.overlap": number(low=0, below=1),
    "inference.sigma_scale": number(above=0),
    "inference.mirror_axes": sequence(integer(0, 2)),
    "inference.rotation_degrees": number(low=0, high=45),
    "inference.batch_size": integer(1),
    "inference.thresholds": sequence(number(above=0, below=1)),
}


def check_config(config: ConfigDict) -> None:
    """Checks every field's presence, type, length and range, and how fields fit together.

    Raises:
        InputError: the first field that does not fit.
    """
    if "stages" in config:
        raise refusal(
            "stages", "a config of several stages", "the config of one, such as NAME.STAGE of its file"
        )
    values = flatten(config.to_dict())
    given = {name for name in values if not name.startswith("model.")}
    checks = _checks(given)
    for name in sorted(given - set(checks)):
        close = fields.nearest(name, checks)
        expected = f"config.{close}" if close else "a field of configs/base.py"
        raise refusal(name, f"a field that does not exist (= {values[name]!r})", expected)
    for name in sorted(set(checks) - given):
        raise refusal(name, "missing", "the field, as configs/base.py has it")
    for name, check in checks.items():
        if wanted := check(values[name]):
            raise refusal(name, repr(values[name]), wanted)
    registry.check_fields(config.to_dict().get("model", {}))
    _check_together(config)


def _checks(given: Iterable[str]) -> dict[str, Check]:
    """The check of every field that a config with these fields must have, and no others."""
    return {**_FIELDS, **combine.field_checks(given), **phases.field_checks(given)}


def _check_together(config: ConfigDict) -> None:
    _check_classes(config)
    phases.check(config)
    share = sum(config.data.centre_share)
    if abs(share - 1) > 1e-6:
        raise refusal("data.centre_share", f"a sum of {share:g}", "shares that sum to 1")
    low, high = config.data.scale_range
    if low > high:
        raise refusal("data.scale_range", f"({low:g}, {high:g})", "the lower end first")
    for name in ("scaling", "elastic", *appearance.NAMES):
        low, high = config.augment[name].range
        if low > high:
            raise refusal(f"augment.{name}.range", f"({low:g}, {high:g})", "the lower end first")
    if not config.data.fold_file and config.data.fold >= config.data.folds:
        raise refusal("data.fold", str(config.data.fold), f"a fold in 0..{config.data.folds - 1}")
    grouped = [name for group in config.data.same_patient for name in group]
    if twice := sorted({name for name in grouped if grouped.count(name) > 1}):
        raise refusal("data.same_patient", f"{', '.join(twice)} twice", "each case in one group at most")
    train, validation = (set(config.data.explicit[name]) for name in ("train", "validation"))
    if validation and not train:
        raise refusal("data.explicit", "only cases to validate on", "both, or neither for folds")
    if train and not validation and config.training.validate_epochs:
        expected = "cases to validate on, or training.validate_epochs = 0: the last weights are the ones"
        raise refusal("data.explicit.validation", "()", expected)
    if train & validation:
        both = ", ".join(sorted(train & validation))
        expected = "cases in one of them only, so two cases at least"
        raise refusal("data.explicit", f"{both} in train and in validation", expected)
    if config.data.batch_size % config.training.accumulate:
        raise refusal(
            "training.accumulate",
            f"{config.training.accumulate} micro-batches of a batch of {config.data.batch_size}",
            "a number that divides data.batch_size",
        )


def _check_classes(config: ConfigDict) -> None:
    """Every part of a run is made for the task's channels and classes."""
    segmented = task.Task.of(config.task)
    classes = len(segmented.classes)
    channels = [channel.name for channel in segmented.channels]
    for name, named in (("in_channels", channels), ("num_classes", segmented.classes)):
        if config.model[name] != len(named):
            expected = f"{len(named)}, as config.task has {', '.join(named)}"
            raise refusal(f"model.{name}", str(config.model[name]), expected)
    values = flatten(config.to_dict())
    weights = [name for name in values if re.fullmatch(r"loss\.\w+\.class_weights", name)]
    for name in (*weights, "data.centre_share"):
        if len(values[name]) != classes:
            raise refusal(name, f"{len(values[name])} values", f"{classes}, one a class of the model")
    for name in weights:
        if not any(values[name]):
            raise refusal(name, "nothing but zeros", "a weight > 0, or nothing is learned")
    if not any(values.get(f"loss.{term}.weight") for term in combine.TERMS):
        raise refusal("loss", "no term with a weight > 0", f"at least one of {', '.join(combine.TERMS)}")
    _check_deep_supervision(config)
    thresholds = len(config.inference.thresholds)
    if thresholds not in (0, classes - 1):
        expected = f"{classes - 1}, one for each class but background, or () for the most probable class"
        raise refusal("inference.thresholds", f"{thresholds} values", expected)
    _check_selection(config, segmented)


def _check_selection(config: ConfigDict, segmented: task.Task) -> None:
    """What chooses the weights has to be a score, and one that the validations give."""
    if not segmented.selected_scores:
        return
    # Loads what measures surfaces and pieces, which takes half a second.
    from dsdenseunet.evaluation import region_summary

    known = region_summary.selectable(segmented)
    for name in segmented.selected_scores:
        if name not in known:
            close = fields.nearest(name, known)
            among = ", ".join(region.name for region in segmented.regions)
            expected = f"a region ({among}) for its Dice, or one of {', '.join(known)}"
            raise refusal("task.select_by", repr(name) + (f" (is it {close}?)" if close else ""), expected)
    if config.training.validate_patches:
        raise refusal(
            "task.select_by",
            f"{segmented.selected_scores[0]}, with config.training.validate_patches = "
            f"{config.training.validate_patches}",
            "validate_patches = 0, so that whole cases are validated (validate_cases of them): patches cut "
            "lesions and surfaces, and only Dice is taken of them",
        )


def _check_deep_supervision(config: ConfigDict) -> None:
    weights, outputs = len(config.loss.deep_supervision), config.model.get("auxiliary_outputs", 0)
    if weights != outputs:
        expected = (
            f"{outputs}, one for each of the network's coarser outputs (config.model.auxiliary_outputs)"
        )
        raise refusal("loss.deep_supervision", f"{weights} weights", expected)


def set_by_flags(config: ConfigDict, given: Mapping[str, tuple[str, Any]]) -> None:
    """Sets fields from a command's own flags, which a wrong value is refused by.

    Args:
        config: what is set.
        given: field to the flag and its value; None leaves the field as it is.

    Raises:
        InputError: the first flag whose value does not fit.
    """
    for name, (flag, value) in given.items():
        if value is None:
            continue
        if expected := _FIELDS[name](value):
            raise InputError(flag, found=repr(value), expected=expected, fix=f"correct {flag}=...")
        section, field = name.split(".")
        config[section][field] = value


def mirror_axes(letters: str | None, flag: str) -> tuple[int, ...] | None:
    """The axes 0, 1, 2 that the letters D, H, W of a flag name, in any case and order; None for no flag.

    Raises:
        InputError: another letter.
    """
    if letters is None:
        return None
    if unknown := set(letters.upper()) - set("DHW"):
        raise InputError(
            flag,
            found=f"{letters!r}, with {', '.join(sorted(unknown))}",
            expected="some of the letters D, H, W (axial slice, row, column), or nothing",
            fix=f"for example {flag}=HW, or {flag}= for no mirroring",
        )
    return tuple(sorted({"DHW".index(letter) for letter in letters.upper()}))


def clean_up_rules(text: str | None) -> tuple[tuple[Any, ...], ...] | None:
    """Rules of `config.task.clean_up` from "largest:REGION,within:REGION:OTHER:MM"; None for no flag."""
    if text is None:
        return None
    rules = (tuple(rule.split(":")) for rule in text.split(",") if rule)
    return tuple((*rule[:3], _as_number(rule[3]), *rule[4:]) if len(rule) > 3 else rule for rule in rules)


def _as_number(word: str) -> float | str:
    """A number that is written out; a word that is none stays, to be refused by its field's check."""
    try:
        return float(word)
    except ValueError:
        return word


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def config_to_json(config: ConfigDict) -> dict[str, Any]:
    """The config as plain values with the number of their schema; tuples become lists."""
    return {schema.KEY: schema.current(), **_convert(config.to_dict(), list)}


def config_from_json(values: Any, where: str | Path = "the stored config") -> ConfigDict:
    """The config back from what `config_to_json` of this or of an older version gave; lists become tuples.

    Args:
        values: the parsed JSON.
        where: the file that they are from, for messages.

    Raises:
        InputError: made by a newer version, or with other fields than its schema has.
    """
    upgraded = schema.upgrade(values, where)
    names = {name for name in flatten(upgraded) if not name.startswith("model.")}
    known = set(_checks(names))
    missing, unknown = sorted(known - names), sorted(names - known)
    if missing or unknown:
        raise schema.of_another_version(
            where,
            "; ".join(
                f"{kind} {', '.join(odd)}" for kind, odd in (("no", missing), ("unknown", unknown)) if odd
            ),
        )
    return ConfigDict(_convert(upgraded, tuple))


def _convert(value: Any, sequence: type) -> Any:
    if isinstance(value, Mapping):
        return {name: _convert(item, sequence) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return sequence(_convert(item, sequence) for item in value)
    return value
