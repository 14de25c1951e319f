import json

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from configs.base import base_config
from dsdenseunet.core.errors import InputError
from dsdenseunet.models import registry
from dsdenseunet.training.settings import (
    check_config,
    config_from_json,
    config_to_json,
    flatten,
    set_by_flags,
)


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
        ("task.channels", (("CT", "window", 250.0, -200.0),), "window low high"),
        ("data.centre_share", (0.5, 0.5, 0.5), "sum to 1"),
        ("data.scale_axes", "both", "one of in_plane, all"),
        ("data.fold", 5, "0..4"),
        ("task.select_by", ("tumour_surface_dice_2mm",), "validate_patches = 0"),
        ("task.select_by", ("tumour_sensitivity_1fp",), "tumour_sensitivity_at_1fp"),
        ("task.select_by", ("liver_recall",), "liver_surface_dice_1mm"),
        ("data.explicit", {"train": (), "validation": ("a",)}, "both, or neither"),
        ("data.explicit", {"train": ("a",), "validation": ()}, "validate_epochs = 0"),
        ("data.explicit", {"train": ("a",), "validation": ("a",)}, "in one of them only"),
        ("data.same_patient", (("a", "b"), ("c", "a")), "each case in one group"),
        ("inference.thresholds", (0.5,), "2, one for each class but background"),
        ("inference.thresholds", (0.5, 1.0), "< 1"),
        ("optimizer.learning_rate", 0.0, "> 0"),
        ("optimizer.learning_rate", float("nan"), "a finite number"),
        ("optimizer.learning_rate", float("inf"), "a finite number"),
        ("optimizer.momentum", "0.5", "a finite number"),
        ("phases.phase2.continue_schedule", 1, "True or False"),
        ("phases.phase1.continue_schedule", True, "False"),
        ("phases.phase1.start", "best:phase2", "an earlier phase"),
        ("phases.phase1.leave_out", ("params/head/*",), "()"),
        ("phases.order", ("phase1", "phase3"), "phase1, phase2"),
        ("phases.order", ("phase1", "phase1"), "each phase once"),
        ("phases.order", (), "at least 1 value"),
        ("phases.all", {}, "none of all"),
        ("loss.cross_entropy.class_weights", (1.0, 1.0), "3, one a class of the model"),
        ("task.ignore_label", 2, "no class"),
        ("training.phase", "phase3", "one of all, phase1, phase2"),
        ("training.accumulate", 2, "divides data.batch_size"),
        ("inference.overlap", 1.0, ">= 0 and < 1"),
        ("inference.mirror_axes", (3,), "an integer >= 0 and <= 2"),
        ("inference.mirror_axes", (1.0,), "an integer >= 0 and <= 2"),
        ("seed", 2**40, "an integer >= 0"),
        ("model.num_classes", 2, "3, as config.task has background, liver, tumour"),
        ("model.num_classes", 4, "3, as config.task has background, liver, tumour"),
        ("model.in_channels", 2, "1, as config.task has CT"),
        ("loss.cross_entropy.class_weights", (0.0, 0.0, 0.0), "a weight > 0"),
        ("data.centre_share", (0.5, 0.5), "3, one a class of the model"),
        ("model.growth_rate", -3, "an integer >= 1"),
        ("model.growth_rat", 32, "config.model.growth_rate"),
        ("model.block_layers", (), "a tuple of at least 1 value(s)"),
        ("model.block_layers", (4, "12", 24, 36), "an integer >= 1"),
        ("model.decoder_channels", (504, 224), "5, one more than the 4 dense blocks"),
        ("model.compression", 0.001, "a larger share"),
        ("model.bn_momentum", 1.0, ">= 0 and < 1"),
        ("model.separable", 1, "True or False"),
        ("model.dtype", "float16", "one of float32, bfloat16"),
        ("model.family", ["dense_unet"], "one of cicek_unet, dense_unet"),
    ],
)
def test_refused(name: str, value: object, expected: str):
    with pytest.raises(InputError) as error:
        check_config(with_field(name, value))
    assert expected in error.value.expected
    assert error.value.where.startswith(f"config.{name.split('.')[0]}")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = SCALARS | st.lists(SCALARS, max_size=4) | st.tuples(SCALARS, SCALARS, SCALARS)


FIELDS = st.sampled_from([*flatten(base_config().to_dict()), "model.new", "data.new", "model", "data"])


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


@pytest.mark.parametrize("name", [name for name in base_config().model if name != "family"])
def test_missing_model_field_is_named(name: str):
    config = base_config()
    del config.model[name]
    with pytest.raises(InputError, match=rf"config\.model\.{name}\n.*missing"):
        check_config(config)


MODEL_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "block_layers": st.lists(st.integers(-1, 3), max_size=3).map(tuple),
        "decoder_channels": st.lists(st.integers(-1, 5), max_size=4).map(tuple),
        "growth_rate": st.integers(-3, 5),
        "bottleneck": st.integers(-3, 5),
        "stem_channels": st.integers(-3, 5),
        "compression": st.floats(-0.5, 1.5),
        "link": st.sampled_from(["add", "none", "project", "concat", "sum"]),
        "bn_momentum": st.floats(-0.5, 1.5),
        "remat": st.sampled_from(["none", "layer", "all"]),
        "separable": st.booleans() | st.integers(),
        "dtype": st.sampled_from(["float32", "bfloat16", "int8"]),
    },
)


@settings(max_examples=40, deadline=None)
@given(MODEL_FIELDS)
def test_any_network_is_refused_clearly_or_can_be_applied(fields: dict[str, object]):
    small = {"block_layers": (1,), "decoder_channels": (2, 2), "growth_rate": 2, "bottleneck": 2}
    config = {**base_config().model.to_dict(), **small, "stem_channels": 2, **fields}
    try:
        model = registry.build(config)
    except InputError as error:
        assert str(error).count("\n") == 3
        return
    image_BDHWC = jax.ShapeDtypeStruct((1, *model.stride, 1), "float32")
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image_BDHWC)
    assert all(leaf.size for leaf in jax.tree.leaves(variables))


def test_a_flag_is_refused_by_its_own_name():
    config = base_config()
    set_by_flags(
        config, {"inference.overlap": ("--overlap", 0.25), "inference.batch_size": ("--batch_size", None)}
    )
    assert (config.inference.overlap, config.inference.batch_size) == (0.25, 1)
    with pytest.raises(InputError, match="--overlap") as error:
        set_by_flags(config, {"inference.overlap": ("--overlap", 1.5)})
    assert "config." not in str(error.value)


def test_json_keeps_tuples():
    config = base_config()
    restored = config_from_json(json.loads(json.dumps(config_to_json(config))))
    assert restored.to_dict() == config.to_dict()
    assert restored.data.explicit.train == ()
