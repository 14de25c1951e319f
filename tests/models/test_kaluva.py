"""The earlier release's counts and stages, and values against the same layers written down plainly."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from configs.table_one import VARIANTS
from dsdenseunet.core.errors import InputError
from dsdenseunet.memory.description import describe
from dsdenseunet.models.network import abstract_variables
from dsdenseunet.models.registry import build
from tests.models.h_dense_unet.plain import conv, with_noise
from tests.published_networks import assert_published

RELEASED = {
    **VARIANTS["kaluva"].model,
    # Of an image whose -1 and 1 are -100 and 400 HU.
    "windows": ((-0.6, -0.2), (-1.0, 0.2), (-1.0, 1.0)),
}
TWO = {"num_classes": 2}


@pytest.mark.parametrize(
    ("changes", "params", "batch_stats"),
    [
        ({}, 3_471_347, 40_480),
        ({"poolings": 3, "layers": 3}, 651_043, 8_160),
        # As one would make the paper's cascade of the same blocks: liver, liver in one window, tumour.
        (TWO, 3_471_310, 40_480),
        ({**TWO, "half": False, "windows": ((-1.0, 1.0),)}, 3_465_186, 40_480),
        ({**TWO, "half": False}, 3_466_050, 40_480),
    ],
)
def test_parameters(changes, params, batch_stats):
    variables = abstract_variables(build({**RELEASED, **changes}))
    counted = {
        name: sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(part)) for name, part in variables.items()
    }
    assert counted == {"params": params, "batch_stats": batch_stats}


def test_stages_of_the_earlier_release():
    described = describe(RELEASED, (1, 512, 512))
    rows = {stage.name: (*stage.shape[2:], stage.trainable) for stage in described.stages}
    assert rows == {
        "windows": (256, 3, 0),
        "first": (256, 48, 1_344),
        "block1": (256, 128, 58_480),
        "down1": (128, 128, 16_768),
        "block2": (128, 208, 116_880),
        "down2": (64, 208, 43_888),
        "block3": (64, 288, 175_280),
        "down3": (32, 288, 83_808),
        "block4": (32, 368, 233_680),
        "down4": (16, 368, 136_528),
        "block5": (16, 448, 292_080),
        "down5": (8, 448, 202_048),
        "block6": (8, 528, 350_480),
        "up5": (16, 528, 57_840),
        "block_up5": (16, 608, 408_880),
        "up4": (32, 448, 57_840),
        "block_up4": (32, 528, 350_480),
        "up3": (64, 368, 57_840),
        "block_up3": (64, 448, 292_080),
        "up2": (128, 288, 57_840),
        "block_up2": (128, 368, 233_680),
        "up1": (256, 208, 57_840),
        "block_up1": (256, 288, 175_280),
        "head": (512, 3, 10_372 + 111),
    }
    assert round(described.totals()["macs"] / 1e9, 2) == 31.57
    assert_published(described, "configs/table_one.py:kaluva_authors")


NARROW = {"poolings": 1, "layers": 2, "growth_rate": 2, "first_channels": 3}


def plain(variables, image):
    """One pooling, two layers a block, one plain call a layer; running statistics."""
    params, statistics = variables["params"], variables["batch_stats"]

    def norm(x, own, stored):
        x = (x - stored["mean"]) / jnp.sqrt(stored["var"] + 1e-3)
        return x * own["scale"] + own["bias"]

    def unit(x, own, stored):
        return conv(nn.elu(norm(x, own["norm"], stored["norm"])), own["conv"])

    def block(x, name):
        for layer in ("layer1", "layer2"):
            x = jnp.concatenate([x, unit(x, params[name][layer], statistics[name][layer])], -1)
        return x

    def double(x):
        for axis in (2, 3):
            size = x.shape[axis]
            nearer, next_ = jnp.arange(2 * size) // 2, jnp.minimum((jnp.arange(2 * size) + 1) // 2, size - 1)
            x = (jnp.take(x, nearer, axis) + jnp.take(x, next_, axis)) / 2
        return x

    x = jnp.concatenate([jnp.clip((image - a) / (b - a), 0, 1) for a, b in RELEASED["windows"]], -1)
    x = nn.avg_pool(x, (1, 2, 2), (1, 2, 2))
    skip = block(conv(x, params["first"]), "block1")
    x = unit(skip, params["down1"]["unit"], statistics["down1"]["unit"])
    x = block(nn.max_pool(x, (1, 2, 2), (1, 2, 2)), "block2")
    x = conv(double(x[..., -4:]), params["up1"]["conv"])
    x = norm(x, params["up1"]["norm"], statistics["up1"]["norm"])
    x = block(jnp.concatenate([x, skip], -1), "block_up1")
    return conv(double(conv(x, params["head"]["narrow"])), params["head"]["conv"])


def test_values_are_those_of_the_plain_form():
    model = build({**RELEASED, **NARROW})
    variables = with_noise(model.first_values())
    image = jax.random.uniform(jax.random.key(0), (2, 3, 8, 4, 1), minval=-1, maxval=1)
    got = jax.jit(lambda v, x: model.apply(v, x, train=False).logits)(variables, image)
    assert got.shape == (2, 3, 8, 4, 3)
    np.testing.assert_allclose(got, jax.jit(plain)(variables, image), rtol=1e-3, atol=1e-4)


def test_first_values():
    params = build({**RELEASED, **NARROW, "first_channels": 256}).first_values()["params"]
    kernel = params["first"]["kernel"]
    deviation = 0.1 / kernel.size
    assert 1.9 * deviation < np.abs(kernel).max() <= 2 * deviation * (1 + 1e-6)
    # Of a normal distribution that is cut at two deviations.
    np.testing.assert_allclose(kernel.std(), 0.8796 * deviation, rtol=5 / np.sqrt(2 * kernel.size))
    assert set(params["first"]["bias"]) == {np.float32(0.1)}
    assert set(params["down1"]["unit"]["norm"]["bias"]) == {0.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"windows": ()}, "at least 1"),
        ({"windows": ((1.0, -1.0),)}, "the lower one first"),
        ({"windows": (-1.0, 1.0)}, "a pair of numbers"),
    ],
)
def test_fields_that_make_no_network_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        build({**RELEASED, **changes})
