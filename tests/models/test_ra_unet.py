"""The released networks' counts and stages, and values against the same layers written down plainly."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from configs.table_one import VARIANTS
from dsdenseunet.core.errors import InputError
from dsdenseunet.memory.description import describe
from dsdenseunet.models.network import abstract_variables
from dsdenseunet.models.registry import build
from tests.models.h_dense_unet.plain import conv, with_noise
from tests.published_networks import assert_published

# The authors' networks have one output.
SPACE = {**VARIANTS["ra_unet"].model, "num_classes": 1}
PLANE = {**VARIANTS["ra_unet_2d"].model, "num_classes": 1}
STAGES = ("stem", "res1", "res2", "res3", "res4", "res5", "res5b")
# Of the stages of the release in its order, in 3D and in 2D.
PARAMETERS = {
    "stem": (960 + 64, 192 + 32),
    "res1": (3_440 + 96, 616 + 48),
    "res2": (10_784 + 128, 1_616 + 64),
    "res3": (42_560 + 256, 6_176 + 128),
    "res4": (169_088 + 512, 24_128 + 256),
    "res5": (674_048 + 1_024, 95_360 + 512),
    "res5b": (838_400 + 1_536, 136_576 + 768),
    "attention4": (1_393_408 + 4_608, 240_000 + 2_304),
    "up4": (375_168 + 1_792, 75_968 + 896),
    "attention3": (509_376 + 3_456, 87_520 + 1_728),
    "up3": (94_400 + 896, 19_296 + 448),
    "attention2": (169_216 + 2_304, 29_568 + 1_152),
    "up2": (23_904 + 448, 4_976 + 224),
    "attention1": (53_712 + 1_440, 9_784 + 720),
    "up1": (6_128 + 224, 1_320 + 112),
    "last": (55_392 + 64, 4_656 + 32),
    "head": (865, 145),
}


@pytest.mark.parametrize(
    ("fields", "column", "patch", "sides", "macs"),
    [
        (SPACE, 0, (32, 224, 224), ((16, 112, 112), (1, 7, 7)), 101.13),
        (PLANE, 1, (1, 256, 256), ((1, 128, 128), (1, 8, 8)), 0.64),
    ],
)
def test_stages_of_the_released_networks(fields, column, patch, sides, macs):
    described = describe(fields, patch)
    rows = {stage.name: stage.trainable + stage.non_trainable for stage in described.stages}
    assert rows == {name: counts[column] for name, counts in PARAMETERS.items()}
    base = 4 * fields["filters"]
    shapes = {stage.name: stage.shape for stage in described.stages}
    assert shapes["stem"] == shapes["last"] == (*patch, base)
    assert shapes["res1"] == shapes["attention1"] == shapes["up1"] == (*sides[0], base)
    assert shapes["res5"] == shapes["res5b"] == (*sides[1], 16 * base)
    assert shapes["head"] == (*patch, 1)
    assert round(described.totals()["macs"] / 1e9, 2) == macs
    if fields is SPACE:
        assert_published(described, "configs/table_one.py:ra_unet", but=("head",))


@pytest.mark.parametrize(
    ("fields", "params", "batch_stats"), [(SPACE, 4_420_849, 18_848), (PLANE, 737_897, 9_424)]
)
def test_parameters_are_those_of_the_released_networks(fields, params, batch_stats):
    variables = abstract_variables(build(fields))
    counted = [sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(part)) for part in variables.values()]
    assert dict(zip(variables, counted, strict=True)) == {"params": params, "batch_stats": batch_stats}


class Plain:
    """The network of two levels in 2D, one plain call a layer."""

    def __init__(self, variables):
        self.params, self.statistics = variables["params"], variables["batch_stats"]

    @staticmethod
    def run(variables, image):
        return Plain(variables)(image)

    def __call__(self, x):
        stem = first = self.norm_relu(conv(x, self.params["stem"]["conv"]), "stem", "norm")
        skip = x = self.residual(self.pool(first), "res1", "unit")
        x = self.residual(self.residual(self.pool(x), "res2", "unit"), "res2b")
        # One level of attention.
        skip = self.residual(skip, "attention1", "before")
        trunk = self.residual(self.residual(skip, "attention1", "trunk1"), "attention1", "trunk2")
        mask = self.residual(self.pool(skip), "attention1", "down1")
        mask = self.double(self.residual(mask, "attention1", "up1"))
        for name in ("mask1", "mask2"):
            mask = conv(mask, self.params["attention1"][name])
        attended = self.residual((1 + 1 / (1 + jnp.exp(-mask))) * trunk, "attention1", "after")
        x = self.residual(jnp.concatenate([self.double(x), attended], -1), "up1", "unit")
        x = jnp.concatenate([self.double(x), stem], -1)
        x = self.norm_relu(conv(x, self.params["last"]["conv"]), "last", "norm")
        return conv(x, self.params["head"])

    def residual(self, x, *path):
        own = self.params
        for part in path:
            own = own[part]
        y = conv(self.norm_relu(x, *path, "norm1"), own["conv1"])
        y = conv(self.norm_relu(y, *path, "norm2"), own["conv2"])
        return conv(self.norm_relu(y, *path, "norm3"), own["conv3"]) + conv(x, own["shortcut"])

    def norm_relu(self, x, *path):
        own, stored = self.params, self.statistics
        for part in path:
            own, stored = own[part], stored[part]
        x = (x - stored["mean"]) * lax.rsqrt(stored["var"] + 1e-3)
        return nn.relu(x * own["scale"] + own["bias"])

    def pool(self, x):
        return nn.max_pool(x, (1, 2, 2), (1, 2, 2))

    def double(self, x):
        return jnp.repeat(jnp.repeat(x, 2, 2), 2, 3)


NARROW = {"filters": 1, "levels": 2, "num_classes": 3}


def test_values_are_those_of_the_plain_form():
    model = build({**PLANE, **NARROW})
    variables = with_noise(model.first_values())
    image = jax.random.normal(jax.random.key(0), (2, 4, 8, 4, 1))
    got = jax.jit(lambda v, x: model.apply(v, x, train=False).logits)(variables, image)
    expected = jax.jit(Plain.run)(variables, image)
    assert expected.shape == (2, 4, 8, 4, 3)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("fields", [SPACE, {**PLANE, "remat": "unit"}])
def test_training_moves_all_running_statistics_and_gives_all_parameters_a_gradient(fields):
    """Traced, not compiled."""
    model = build({**fields, **NARROW})
    variables = abstract_variables(model)

    def loss(params, batch_stats, image):
        stored = {"params": params, "batch_stats": batch_stats}
        outputs, updates = model.apply(stored, image, train=True, mutable=["batch_stats"])
        return outputs.logits.sum(), updates["batch_stats"]

    image = jax.ShapeDtypeStruct((2, 4, 8, 4, 1), jnp.float32)
    gradient, updates = jax.eval_shape(
        jax.grad(loss, has_aux=True), variables["params"], variables["batch_stats"], image
    )
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, variables["batch_stats"])
    assert jax.tree.map(jnp.shape, gradient) == jax.tree.map(jnp.shape, variables["params"])


def test_mask_branches_are_as_deep_as_the_links_levels():
    """Sums of a mask's own, one for each level but the deepest: 3 d + 3 residual units in all."""
    params = abstract_variables(build(SPACE))["params"]
    for depth in range(1, 5):
        units = [name for name in params[f"attention{5 - depth}"] if not name.startswith("mask")]
        assert len(units) == 3 * depth + 3


@pytest.mark.parametrize(
    ("changes", "message"), [({"dimensions": 4}, "<= 3"), ({"levels": 0}, "an integer >= 1")]
)
def test_fields_that_make_no_network_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        build({**SPACE, **changes})
