import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from configs.base import base_config
from dsdenseunet.errors import InputError
from dsdenseunet.training.settings import check_config, config_from_json, config_to_json, flatten


def with_field(name: str, value: object) -> ConfigDict:
    """The base config with one field replaced, whatever its type."""
    values = base_config().to_dict()
    *path, last = name.split(".")
    place = values
    for part in path:
        place = place[part]
    place[last] = value
    return ConfigDict(values)


def test_base_config_passes():
    check_config(base_config())


def test_unknown_field_is_named_with_the_nearest():
    with pytest.raises(InputError, match=r"config\.optimizer\.learnin_rate") as error:
        check_config(with_field("optimizer.learnin_rate", 0.1))
    assert error.value.expected == "config.optimizer.learning_rate"


def test_missing_field_is_named():
    config = base_config()
    del config.training.accumulate
    with pytest.raises(InputError, match=r"config\.training\.accumulate\n.*missing"):
        check_config(config)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("data.patch_size", (12, 224), "3 values"),
        ("data.patch_size", (12, 224, 0), "an integer >= 1"),
        ("data.patch_size", 12, "3 values"),
        ("data.batch_size", 0, "an integer >= 1"),
        ("data.batch_size", 1.5, "an integer >= 1"),
        ("data.batch_size", True, "an integer >= 1"),
        ("data.hu_window", (250.0, -200.0), "the lower end first"),
        ("data.centre_share", (0.5, 0.5, 0.5), "sum to 1"),
        ("data.scale_axes", "both", "one of in_plane, all"),
        ("data.fold", 5, "0..4"),
        ("data.explicit", {"train": ("a",), "validation": ()}, "both, or neither"),
        ("data.explicit", {"train": ("a",), "validation": ("a",)}, "in one of them only"),
        ("optimizer.learning_rate", 0.0, "> 0"),
        ("optimizer.learning_rate", float("nan"), "a finite number"),
        ("optimizer.learning_rate", float("inf"), "a finite number"),
        ("optimizer.momentum", "0.5", "a finite number"),
        ("optimizer.restart_in_phase2", 1, "True or False"),
        ("loss.class_weights", (1.0, 1.0), "3, one a class"),
        ("loss.ignore_label", 2, "no class"),
        ("training.phase", "phase3", "one of all, phase1, phase2"),
        ("training.accumulate", 2, "divides data.batch_size"),
        ("inference.overlap", 1.0, ">= 0 and < 1"),
        ("inference.mirror_axes", (3,), "0, 1 or 2"),
    ],
)
def test_refused(name: str, value: object, expected: str):
    with pytest.raises(InputError) as error:
        check_config(with_field(name, value))
    assert expected in error.value.expected
    assert error.value.where.startswith(f"config.{name.split('.')[0]}")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = SCALARS | st.lists(SCALARS, max_size=4) | st.tuples(SCALARS, SCALARS, SCALARS)


FIELDS = st.sampled_from([name for name in flatten(base_config().to_dict()) if not name.startswith("model.")])


def assert_passes_or_is_refused_clearly(name: str, value: object) -> None:
    try:
        check_config(with_field(name, value))
    except InputError as error:
        assert str(error).count("\n") == 3


@given(FIELDS, VALUES)
def test_any_value_passes_or_is_refused_clearly(name: str, value: object):
    assert_passes_or_is_refused_clearly(name, value)


@pytest.mark.long
@settings(max_examples=100_000, deadline=None)
@given(FIELDS, VALUES)
def test_a_hundred_thousand_values_pass_or_are_refused_clearly(name: str, value: object):
    assert_passes_or_is_refused_clearly(name, value)


def test_json_keeps_tuples():
    config = base_config()
    restored = config_from_json(json.loads(json.dumps(config_to_json(config))))
    assert restored.to_dict() == config.to_dict()
    assert restored.data.explicit.train == ()
