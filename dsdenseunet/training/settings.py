"""What a training config may hold; everything else is refused before anything is touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.errors import InputError

# A check returns what was expected where the value is not it, else None.
Check = Callable[[Any], str | None]


def _integer(low: int | None = None) -> Check:
    expected = "an integer" + (f" >= {low}" if low is not None else "")
    return lambda value: None if _is_integer(value) and (low is None or value >= low) else expected


def _number(low: float | None = None, high: float | None = None, above: float | None = None) -> Check:
    bounds = [f">= {low}"] * (low is not None) + [f"> {above}"] * (above is not None)
    bounds += [f"<= {high}"] * (high is not None)
    expected = " and ".join(["a finite number", *bounds]).replace("number and", "number")

    def check(value: Any) -> str | None:
        fits = (
            _is_number(value)
            and (low is None or value >= low)
            and (above is None or value > above)
            and (high is None or value <= high)
        )
        return None if fits else expected

    return check


def _choice(*options: str) -> Check:
    return lambda value: None if value in options else "one of " + ", ".join(options)


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "a text that is not empty"


def _truth(value: Any) -> str | None:
    return None if isinstance(value, bool) else "True or False"


def _sequence(element: Check, length: int | None = None) -> Check:
    def check(value: Any) -> str | None:
        expected = f"{length} values" if length is not None else "a tuple"
        if not isinstance(value, tuple | list) or (length is not None and len(value) != length):
            return expected
        problems = [problem for item in value if (problem := element(item))]
        return f"{expected}, each {problems[0]}" if problems else None

    return check


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


# Every field outside `model`, whose fields the network's own family checks.
_FIELDS: Mapping[str, Check] = {
    "name": _text,
    "seed": _integer(0),
    "loss.class_weights": _sequence(_number(low=0)),
    "loss.ignore_label": _integer(),
    "optimizer.learning_rate": _number(above=0),
    "optimizer.momentum": _number(low=0, high=1),
    "optimizer.decay_factor": _number(above=0, high=1),
    "optimizer.decay_epochs": _integer(1),
    "optimizer.lr_floor": _number(low=0),
    "optimizer.restart_in_phase2": _truth,
    "data.cache": _text,
    "data.folds": _integer(2),
    "data.fold": _integer(0),
    "data.explicit.train": _sequence(_text),
    "data.explicit.validation": _sequence(_text),
    "data.patch_size": _sequence(_integer(1), 3),
    "data.batch_size": _integer(1),
    "data.hu_window": _sequence(_number(), 2),
    "data.centre_share": _sequence(_number(low=0, high=1), 3),
    "data.scale_range": _sequence(_number(above=0), 2),
    "data.scale_axes": _choice("in_plane", "all"),
    "data.mirror_probability": _sequence(_number(low=0, high=1), 3),
    "data.augment_on_device": _truth,
    "data.workers": _integer(0),
    "data.threads": _integer(1),
    "data.prefetch": _integer(1),
    "training.phase": _choice("all", "phase1", "phase2"),
    "training.init_from": lambda value: None if isinstance(value, str) else "a folder, or '' for none",
    "training.steps_per_epoch": _integer(1),
    "training.phase1_epochs": _integer(1),
    "training.phase2_epochs": _integer(1),
    "training.accumulate": _integer(1),
    "training.validate_epochs": _integer(1),
    "training.validate_cases": _integer(0),
    "training.checkpoint_epochs": _integer(1),
    "inference.overlap": lambda value: (
        None if _is_number(value) and 0 <= value < 1 else "a number >= 0 and < 1"
    ),
    "inference.sigma_scale": _number(above=0),
    "inference.mirror_axes": _sequence(lambda value: None if value in (0, 1, 2) else "0, 1 or 2"),
    "inference.batch_size": _integer(1),
    "inference.largest_component": _truth,
    "inference.tumour_within_liver_mm": _number(),
}


def check_config(config: ConfigDict) -> None:
    """Checks every field's presence, type, length and range, and how fields fit together.

    Raises:
        InputError: the first field that does not fit.
    """
    values = flatten(config.to_dict())
    given = {name for name in values if not name.startswith("model.")}
    for name in sorted(given - set(_FIELDS)):
        raise _refusal(name, f"a field that does not exist (= {values[name]!r})", _nearest(name))
    for name in sorted(set(_FIELDS) - given):
        raise _refusal(name, "missing", "the field, as configs/base.py has it")
    for name, check in _FIELDS.items():
        expected = check(values[name])
        if expected:
            raise _refusal(name, repr(values[name]), expected)
    _check_together(config)


def _check_together(config: ConfigDict) -> None:
    classes = len(config.loss.class_weights)
    if classes != config.model.num_classes:
        raise _refusal(
            "loss.class_weights",
            f"{classes} weights",
            f"{config.model.num_classes}, one a class of the model",
        )
    if 0 <= config.loss.ignore_label < classes:
        raise _refusal(
            "loss.ignore_label", f"{config.loss.ignore_label}, a class", "a number that is no class"
        )
    share = sum(config.data.centre_share)
    if abs(share - 1) > 1e-6:
        raise _refusal("data.centre_share", f"a sum of {share:g}", "shares that sum to 1")
    for name in ("hu_window", "scale_range"):
        low, high = config.data[name]
        if not (low < high or (name == "scale_range" and low == high)):
            raise _refusal(f"data.{name}", f"({low:g}, {high:g})", "the lower end first")
    if config.data.fold >= config.data.folds:
        raise _refusal("data.fold", str(config.data.fold), f"a fold in 0..{config.data.folds - 1}")
    train, validation = (set(config.data.explicit[name]) for name in ("train", "validation"))
    if bool(train) != bool(validation):
        raise _refusal("data.explicit", "only one of train and validation", "both, or neither for folds")
    if train & validation:
        both = ", ".join(sorted(train & validation))
        raise _refusal("data.explicit", f"{both} in train and in validation", "cases in one of them only")
    if config.data.batch_size % config.training.accumulate:
        raise _refusal(
            "training.accumulate",
            f"{config.training.accumulate} micro-batches of a batch of {config.data.batch_size}",
            "a number that divides data.batch_size",
        )


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
    """The config as plain values; tuples become lists."""
    return _convert(config.to_dict(), list)


def config_from_json(values: Mapping[str, Any]) -> ConfigDict:
    """The config back from `config_to_json`; lists become tuples."""
    return ConfigDict(_convert(values, tuple))


def _convert(value: Any, sequence: type) -> Any:
    if isinstance(value, Mapping):
        return {name: _convert(item, sequence) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return sequence(_convert(item, sequence) for item in value)
    return value


def _nearest(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, _FIELDS, n=1, cutoff=0.5)
    return f"config.{close[0]}" if close else "a field of configs/base.py"


def _refusal(name: str, found: str, expected: str) -> InputError:
    return InputError(
        f"config.{name}",
        found=found,
        expected=expected,
        fix=f"correct it in the config's file or with --config.{name}=...",
    )
