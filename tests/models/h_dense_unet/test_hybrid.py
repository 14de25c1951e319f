"""The released hybrid's counts, stages and what each of its stages trains; values against the plain form."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from configs import table_one
from dsdenseunet.core.errors import InputError
from dsdenseunet.memory.description import describe
from dsdenseunet.models.layers import BatchNormReLU
from dsdenseunet.models.network import abstract_variables
from dsdenseunet.models.registry import build
from dsdenseunet.training import phases
from dsdenseunet.training.arrays import matches, named
from tests.models.h_dense_unet.plain import Plain, conv, with_noise
from tests.published_networks import assert_published

RELEASED = table_one.VARIANTS["h_dense_unet"].model
NARROW = {
    "slices_blocks": (1,),
    "slices_growth": 3,
    "slices_decoder": (5, 4),
    "volume_blocks": (2,),
    "volume_growth": 2,
    "volume_decoder": (3, 4),
    "stem_channels": 6,
}


@functools.cache
def sizes(stage, link="none"):
    """Of every array by its name."""
    variables = abstract_variables(build({**RELEASED, "stage": stage, "slices_link": link}))
    return {name: math.prod(leaf.shape) for name, leaf in named(variables).items()}


@pytest.mark.parametrize(
    ("stage", "link", "params", "batch_stats"),
    [
        ("end_to_end", "none", 61_195_054, 249_568),
        ("end_to_end", "before", 61_195_054 + 4_665_504, 249_568),
        ("slices", "none", 45_082_275, 222_752),
    ],
)
def test_parameters_are_those_of_the_released_network(stage, link, params, batch_stats):
    counted = {"params": 0, "batch_stats": 0}
    for name, size in sizes(stage, link).items():
        counted[name.partition("/")[0]] += size
    assert counted == {"params": params, "batch_stats": batch_stats}


def test_each_phase_trains_what_the_authors_stage_trains():
    """Keras' own counts of the release's stages."""
    config = table_one.get_config("h_dense_unet_authors")
    trained = {}
    for name in phases.names(config):
        frozen = ("batch_stats/*", *config.phases[name].frozen)
        arrays = sizes(phases.config_of(config, name).model.stage)
        trained[name] = sum(size for array, size in arrays.items() if not matches(array, frozen))
    assert trained == {"slices": 45_082_275, "volume": 16_112_779, "end_to_end": 60_950_798}


def test_what_a_phase_takes_from_the_one_before_is_there():
    config = table_one.get_config("h_dense_unet_authors")
    before, after = set(sizes("slices")), set(sizes("volume"))
    left_out = {name for name in after if matches(name, config.phases.volume.leave_out)}
    assert after - left_out == before
    assert set(sizes("end_to_end")) == after


def test_stages():
    described = describe(RELEASED, (8, 224, 224))
    rows = {stage.name: stage for stage in described.stages}
    assert rows["slices"].shape == (8, 224, 224, 3)
    assert rows["slices_block4"].shape == (8, 7, 7, 2208)
    assert rows["slices_up5"].shape == rows["volume_up5"].shape == rows["fusion"].shape == (8, 224, 224, 64)
    assert rows["volume"].shape == (8, 224, 224, 4)
    assert rows["volume_block4"].shape == (2, 7, 7, 504)
    assert rows["fusion"].trainable + rows["fusion"].non_trainable == 110_656 + 256
    assert rows["head"].shape == (8, 224, 224, 3)
    assert round(described.totals()["macs"] / 1e9, 2) == 302.91
    assert_published(described, "configs/table_one.py:h_dense_unet_authors")


def test_values_are_those_of_the_plain_form():
    model = build({**RELEASED, **NARROW})
    variables = with_noise(model.first_values())
    image = jax.random.normal(jax.random.key(0), (1, 4, 8, 8, 1))

    def plain(variables, image):
        params, statistics = variables["params"], variables["batch_stats"]
        above = jnp.concatenate([image[:, :1], image[:, :-1]], 1)
        below = jnp.concatenate([image[:, 1:], image[:, -1:]], 1)
        seen = jnp.concatenate([above, image, below], -1)
        slices = Plain(variables, 2, False, "slices_")(seen, "none")
        scores = conv(slices, params["slices_head"])
        # As released, an image that is 225 times as large, and 250 times the logits.
        together = jnp.concatenate([225 * image, 250 * scores], -1) / 225
        volume = Plain(variables, 3, False, "volume_")(together, "none")
        x = conv(volume + slices, params["fusion"]["conv"])
        own, stored = params["fusion"]["norm"], statistics["fusion"]["norm"]
        x = (x - stored["mean"]) / jnp.sqrt(stored["var"] + 1e-3) * own["scale"] + own["bias"]
        return conv(nn.relu(x), params["head"])

    got = jax.jit(lambda v, x: model.apply(v, x, train=False).logits)(variables, image)
    assert got.shape == (1, 4, 8, 8, 3)
    np.testing.assert_allclose(got, jax.jit(plain)(variables, image), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("stage", "moving"),
    [
        ("slices", {"slices_stem", "slices_block1", "slices_norm", "slices_up1", "slices_up2"}),
        (
            "volume",
            {"volume_stem", "volume_block1", "volume_norm", "volume_up1", "volume_up2", "fusion"},
        ),
        ("end_to_end", {"volume_stem", "volume_norm", "volume_up1", "volume_up2", "fusion"}),
    ],
)
def test_training_normalises_by_the_batch_where_the_authors_do(stage, moving):
    """Traced, not compiled."""
    model = build({**RELEASED, **NARROW, "stage": stage})
    variables = abstract_variables(model)
    seen: dict[str, set[bool]] = {}

    def note(run, args, kwargs, context):
        if isinstance(context.module, BatchNormReLU) and context.method_name == "__call__":
            seen.setdefault(context.module.path[0], set()).add(args[1])
        return run(*args, **kwargs)

    def train(variables, image):
        with nn.intercept_methods(note):
            rngs = {"dropout": jax.random.key(0)}
            return model.apply(variables, image, train=True, mutable=["batch_stats"], rngs=rngs)

    jax.eval_shape(train, variables, jax.ShapeDtypeStruct((1, 4, 8, 8, 1), jnp.float32))
    assert {name for name, flags in seen.items() if True in flags} == moving
    assert all(len(flags) == 1 for flags in seen.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"volume_decoder": (3, 5)}, "4, as slices_decoder"),
        ({"slices_decoder": (5, 4, 4)}, "3 values"),
        ({"stage": "both"}, "one of slices"),
    ],
)
def test_fields_that_make_no_network_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        build({**RELEASED, **NARROW, **changes})
