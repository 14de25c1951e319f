"""The released networks' counts and stages, and values against the plain form of the same layers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.table_one import VARIANTS
from dsdenseunet.core.errors import InputError
from dsdenseunet.memory.description import describe
from dsdenseunet.models.network import abstract_variables
from dsdenseunet.models.registry import build
from tests.models.h_dense_unet.plain import Plain, conv, with_noise
from tests.published_networks import assert_published

VOLUME = VARIANTS["dense_unet_65"].model
SLICES = VARIANTS["dense_unet_167"].model
TINY = {
    "block_layers": (2, 1),
    "growth_rate": 3,
    "bottleneck": 4,
    "stem_channels": 6,
    "decoder_channels": (5, 7, 4),
}


@pytest.mark.parametrize(
    ("fields", "params", "batch_stats"),
    [
        (VOLUME, 15_903_211, 26_688),
        ({**VOLUME, "in_channels": 4}, 16_001_995, 26_688),
        ({**VOLUME, "link": "after"}, 15_903_211 + 250_488, 26_688),
        ({**VOLUME, "link": "before"}, 15_903_211 + 425_744, 26_688),
        (SLICES, 45_082_275, 222_752),
        ({**SLICES, "link": "before"}, 49_747_779, 222_752),
    ],
)
def test_parameters_are_those_of_the_released_networks(fields, params, batch_stats):
    """With the sums in 3D, which the release does not have: as its widths make them."""
    variables = abstract_variables(build(fields))
    counted = [sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(part)) for part in variables.values()]
    assert dict(zip(variables, counted, strict=True)) == {"params": params, "batch_stats": batch_stats}


def stages(fields, patch, published, but=()):
    described = describe(fields, patch)
    assert_published(described, f"configs/table_one.py:{published}", but)
    rows = {stage.name: (stage.shape, stage.trainable + stage.non_trainable) for stage in described.stages}
    return rows, described.totals()["macs"]


def test_stages_of_the_released_3d_network():
    four = {**VOLUME, "in_channels": 4}
    rows, macs = stages(four, (8, 224, 224), "dense_unet_65_authors", but=("stem",))
    assert rows == {
        "stem": ((4, 112, 112, 96), 132_288),
        "pool": ((2, 56, 56, 96), 0),
        "block1": ((2, 56, 56, 192), 385_536),
        "transition1": ((2, 28, 28, 96), 19_584),
        "block2": ((2, 28, 28, 224), 522_624),
        "transition2": ((2, 14, 14, 112), 26_432),
        "block3": ((2, 14, 14, 496), 1_799_424),
        "transition3": ((2, 7, 7, 248), 125_984),
        "block4": ((2, 7, 7, 504), 1_276_800),
        "norm": ((2, 7, 7, 504), 3_024),
        "up1": ((2, 14, 14, 504), 6_860_952),
        "up2": ((2, 28, 28, 224), 3_049_312),
        "up3": ((2, 56, 56, 192), 1_162_176),
        "up4": ((4, 112, 112, 96), 498_144),
        "up5": ((8, 224, 224, 64), 166_208),
        "head": ((8, 224, 224, 3), 195),
    }
    assert round(macs / 1e9, 2) == 117.21


def test_stages_of_the_released_2d_network():
    linked = {**SLICES, "link": "before"}
    rows, macs = stages(linked, (8, 224, 224), "dense_unet_167_sums_authors")
    assert rows == {
        "slices": ((8, 224, 224, 3), 0),
        "stem": ((8, 112, 112, 96), 14_688),
        "pool": ((8, 56, 56, 96), 0),
        "block1": ((8, 56, 56, 384), 761_184),
        "transition1": ((8, 28, 28, 192), 76_032),
        "block2": ((8, 28, 28, 768), 2_092_608),
        "transition2": ((8, 14, 14, 384), 299_520),
        "block3": ((8, 14, 14, 2112), 11_752_128),
        "transition3": ((8, 7, 7, 1056), 2_242_944),
        "block4": ((8, 7, 7, 2208), 9_659_520),
        "norm": ((8, 7, 7, 2208), 13_248),
        "up1": ((8, 14, 14, 768), 15_265_536 + 4_665_504),
        "up2": ((8, 28, 28, 384), 2_656_128),
        "up3": ((8, 56, 56, 96), 332_256),
        "up4": ((8, 112, 112, 96), 83_424),
        "up5": ((8, 224, 224, 64), 55_616),
        "head": ((8, 224, 224, 3), 195),
    }
    # Of one slice.
    assert round(macs / 8 / 1e9, 3) == 18.577


@pytest.mark.parametrize(
    ("base", "link", "depth", "train"), [(VOLUME, "after", 4, True), (SLICES, "before", 2, False)]
)
def test_values_are_those_of_the_plain_form(base, link, depth, train):
    model = build({**base, **TINY, "link": link, "dropout_rate": 0.0})
    variables = with_noise(model.first_values())
    image = jax.random.normal(jax.random.key(0), (2, depth, 16, 8, 1))

    @jax.jit
    def fast(variables, image):
        return model.apply(variables, image, train=train, mutable=["batch_stats"])[0].logits

    @jax.jit
    def plain(variables, image):
        if base is SLICES:
            first, second = image[:, :1], image[:, 1:]
            image = jnp.concatenate(
                [
                    jnp.concatenate([first, first, second], -1),
                    jnp.concatenate([first, second, second], -1),
                ],
                axis=1,
            )
        x = Plain(variables, base["dimensions"], train)(image, link)
        return conv(x, variables["params"]["head"])

    got, expected = fast(variables, image), plain(variables, image)
    assert got.shape == (2, depth, 16, 8, 3)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def test_first_values_of_the_2d_network():
    params = build({**SLICES, **TINY, "growth_rate": 16, "decoder_channels": (32, 32, 32)}).first_values()
    kernel = params["params"]["up2"]["conv"]["kernel"]
    # A sample's deviation scatters by 1 / sqrt(2 n) around the true one.
    np.testing.assert_allclose(kernel.std(), 0.05, rtol=5 / np.sqrt(2 * kernel.size))
    stem = params["params"]["stem"]["conv"]["kernel"]
    bound = math.sqrt(6 / (49 * (3 + 6)))
    assert 0.99 * bound < np.abs(stem).max() <= bound
    assert set(params["params"]["stem"]["norm"]["gamma"]) == {1.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder_channels": (4, 4)}, "2 values"),
        ({"slices": 2}, "2 in 2D"),
        ({"dimensions": 3}, "3 in 3D"),
        ({"stem_channels": 1}, "no channel is left"),
        ({"link": "concat"}, "none, before, after"),
    ],
)
def test_fields_that_make_no_network_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        build({**SLICES, **TINY, **changes})
