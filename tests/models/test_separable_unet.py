"""Counts by hand, shapes, first values, and one block written down with Flax's own layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dsdenseunet.core.errors import InputError
from dsdenseunet.memory.description import describe
from dsdenseunet.models.registry import build
from dsdenseunet.models.separable_unet import ResidualBlocks, places
from tests.published_networks import assert_published

FIELDS = {
    "family": "separable_unet",
    "in_channels": 1,
    "num_classes": 3,
    "widths": (24, 96),
    "encoder_blocks": (2, 5),
    "decoder_blocks": (1,),
    "expansion": 2,
    "image_link": True,
    "norm_epsilon": 1e-5,
    "foreground_share": 0.06,
    "dtype": "float32",
    "remat": "none",
    "auxiliary_outputs": 0,
}
TINY = {"widths": (4, 6, 8), "encoder_blocks": (0, 1, 2), "decoder_blocks": (1, 2)}


def tiny(**changes):
    return build({**FIELDS, **TINY, **changes})


def block_parameters(channels, hidden):
    return 27 * channels + 2 * channels + channels * hidden + hidden + hidden * channels


def test_parameters_and_shapes_of_the_default():
    parameters = {
        "stem": 27 * 8 * 24 + 24 + 2 * 24,
        "encoder0": 2 * block_parameters(24, 48),
        "down1": 192 * 96 + 96 + 2 * 96,
        "encoder1": 5 * block_parameters(96, 192),
        "up0": 96 * 192 + 192,
        "decoder0": block_parameters(24, 48),
        "head": 2 * 24 + 32 * 24 + 24,
    }
    described = describe(FIELDS, (32, 48, 32))
    assert {stage.name: stage.trainable for stage in described.stages} == parameters
    assert described.totals()["total"] == described.totals()["trainable"] == 251_784
    assert_published(described, "configs/best.py:hippocampus")
    assert {stage.name: stage.shape for stage in described.stages} == {
        "stem": (16, 24, 16, 24),
        "encoder0": (16, 24, 16, 24),
        "down1": (8, 12, 8, 96),
        "encoder1": (8, 12, 8, 96),
        "up0": (16, 24, 16, 24),
        "decoder0": (16, 24, 16, 24),
        "head": (32, 48, 32, 3),
    }
    macs = {stage.name: stage.macs for stage in described.stages}
    assert macs["encoder1"] == 768 * 5 * (27 * 96 + 2 * 96 * 192)
    assert macs["head"] == 6144 * 32 * 24


def test_places_are_those_of_the_voxels_of_the_patch():
    found = places((2, 3, 4), (4, 4, 4))
    assert found.shape == (2, 3, 4, 12)
    # Along W, of 16 voxels: the second of four cells has its middle at voxel 5.5, 9.5 voxels before the last.
    u = (5.5 - 7.5) / 8
    expected = [u, u**2, np.tanh((5.5 - 5) / 5), np.tanh((9.5 - 5) / 5)]
    np.testing.assert_allclose(found[1, 2, 1, 8:], expected, rtol=1e-6)
    # From the other end the ends change places, and nothing depends on D and H.
    np.testing.assert_array_equal(found[0, 0, ::-1, 8:] * [-1, 1, 1, 1], found[1, 1, :, [8, 9, 11, 10]].T)


def test_a_network_that_is_told_the_places_has_a_layer_more_and_sees_them():
    # As configs/decathlon.py has it, which leaves the finest maps without blocks.
    described = describe({**FIELDS, "encoder_blocks": (0, 5), "places": True}, (32, 48, 32))
    assert described.totals()["trainable"] == 245_688 + 12 * 96 + 96
    model = tiny(places=True)
    image = np.random.default_rng(0).standard_normal((1, 16, 16, 16, 1)).astype(np.float32)
    variables = model.first_values()
    assert set(variables["params"]) - set(tiny().first_values()["params"]) == {"places"}
    weights = jax.tree.map(np.zeros_like, variables["params"]["places"])
    without = {"params": {**variables["params"], "places": weights}}
    plain = {"params": {k: v for k, v in variables["params"].items() if k != "places"}}
    expected = tiny().apply(plain, image, train=False).logits
    np.testing.assert_array_equal(model.apply(without, image, train=False).logits, expected)
    assert np.abs(model.apply(variables, image, train=False).logits - expected).max() > 1e-3


def test_stages_of_several_levels_and_coarser_outputs():
    described = describe({**FIELDS, **TINY, "auxiliary_outputs": 2}, (8, 16, 8))
    assert [(stage.name, stage.shape) for stage in described.stages] == [
        ("stem", (4, 8, 4, 4)),
        ("down1", (2, 4, 2, 6)),
        ("encoder1", (2, 4, 2, 6)),
        ("down2", (1, 2, 1, 8)),
        ("encoder2", (1, 2, 1, 8)),
        ("up1", (2, 4, 2, 6)),
        ("decoder1", (2, 4, 2, 6)),
        ("up0", (4, 8, 4, 4)),
        ("decoder0", (4, 8, 4, 4)),
        ("auxiliary1", (4, 8, 4, 3)),
        ("auxiliary2", (2, 4, 2, 3)),
        ("head", (8, 16, 8, 3)),
    ]


def test_first_values():
    parameters = tiny(widths=(4, 64), encoder_blocks=(0, 3), decoder_blocks=(0,)).first_values()["params"]
    blocks = parameters["encoder1"]
    for name, variance in (("depthwise", 1 / 27), ("expand", 2 / 64), ("project", 0.09 / 128)):
        kernel = blocks[name]["kernel"]
        # A sample's deviation scatters by 1 / sqrt(2 n) around the true one.
        np.testing.assert_allclose(kernel.std(), np.sqrt(variance), rtol=5 / np.sqrt(2 * kernel.size))
        assert not np.array_equal(kernel[0], kernel[1])
    np.testing.assert_array_equal(blocks["norm"]["scale"], np.ones((3, 64)))
    # Each voxel of a cube begins with the classes' shares.
    shares = np.exp(parameters["head"]["bias"].reshape(8, 3))
    np.testing.assert_allclose(shares, np.tile([0.94, 0.03, 0.03], (8, 1)), rtol=1e-6)


class PlainBlock(nn.Module):
    """The definition."""

    separable: bool

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        groups, name = (channels, "depthwise") if self.separable else (1, "conv")
        y = nn.Conv(channels, (3, 3, 3), feature_group_count=groups, use_bias=False, name=name)(x)
        y = nn.InstanceNorm(epsilon=1e-5, name="norm")(y)
        y = nn.relu(nn.Conv(2 * channels, (1, 1, 1), name="expand")(y))
        return x + nn.Conv(channels, (1, 1, 1), use_bias=False, name="project")(y)


def test_a_block_with_a_full_convolution_equals_its_definition():
    block = ResidualBlocks(1, 3, 6, 1e-5, separable=False)
    x = np.random.default_rng(0).standard_normal((1, 2, 3, 4, 3)).astype(np.float32)
    params = block.init(jax.random.key(1), x)["params"]
    assert params["conv"]["kernel"].shape == (1, 3, 3, 3, 3, 3)
    expected = PlainBlock(separable=False).apply({"params": jax.tree.map(lambda leaf: leaf[0], params)}, x)
    np.testing.assert_allclose(block.apply({"params": params}, x), expected, rtol=1e-4, atol=1e-5)


def test_blocks_equal_their_definition_one_after_the_other():
    blocks = ResidualBlocks(2, 3, 6, 1e-5, remat=True)
    x = jax.random.normal(jax.random.key(0), (2, 2, 3, 4, 3))
    params = jax.jit(blocks.init)(jax.random.key(1), x)["params"]
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)

    def fast(params, x):
        return jnp.sum(jnp.sin(blocks.apply({"params": params}, x)))

    def plain(params, x):
        first, second = (jax.tree.map(lambda leaf, index=index: leaf[index], params) for index in (0, 1))
        block = PlainBlock(separable=True)
        x = block.apply({"params": second}, block.apply({"params": first}, x))
        return jnp.sum(jnp.sin(x))

    got, expected = (jax.jit(jax.value_and_grad(f, argnums=(0, 1)))(params, x) for f in (fast, plain))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), got, expected)


def test_logits_are_in_float32_and_lie_where_their_voxel_is():
    """Without anything but the link to the image, logits of a voxel follow that voxel."""
    model = tiny(dtype="bfloat16", widths=(2,), encoder_blocks=(0,), decoder_blocks=())
    params = jax.tree.map(np.zeros_like, model.first_values()["params"])
    # Class 1 of each of a cube's voxels looks at the image in the same place: rows are 2 channels, 8 voxels.
    params["head"]["conv"]["kernel"][0, 0, 0, 2 + np.arange(8), 3 * np.arange(8) + 1] = 1
    image = jax.random.normal(jax.random.key(0), (1, 4, 6, 8, 1))
    outputs = jax.jit(lambda image: model.apply({"params": params}, image, train=False))(image)
    assert outputs.logits.dtype == jnp.float32
    np.testing.assert_allclose(outputs.logits[..., 1], image[..., 0], rtol=1e-6)
    np.testing.assert_array_equal(outputs.logits[..., 0], 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_blocks": (0, 1)}, "2 values for 3 widths"),
        ({"decoder_blocks": (1, 2, 3)}, "3 values for 3 widths"),
        ({"auxiliary_outputs": 4}, "at most 3"),
        ({"foreground_share": 1.0}, "< 1"),
        ({"separable": "yes"}, "True or False"),
        ({"growth_rate": 4}, "a field of separable_unet"),
    ],
)
def test_fields_that_make_no_network_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        tiny(**changes)
