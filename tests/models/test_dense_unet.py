"""The paper's counts and shapes (Table 3), the variants, and what a patch may be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.ds_dense_unet_569 import get_config
from dsdenseunet.core.errors import InputError
from dsdenseunet.models.dense_unet import Head
from dsdenseunet.models.layers import NormSettings
from dsdenseunet.models.registry import build, check_patch
from dsdenseunet.ops import conv, depthwise_choice
from dsdenseunet.ops.batch_norm import normalise_relu

TINY = {
    "block_layers": (1, 2, 1, 1),
    "growth_rate": 4,
    "bottleneck": 8,
    "stem_channels": 6,
    "decoder_channels": (9, 8, 7, 6, 5),
}


def tiny(**changes):
    return build({**get_config("ds").model.to_dict(), **TINY, **changes})


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("variant", "trainable", "non_trainable"),
    [("ds", 36_270_883, 162_712), ("standard", 53_016_327, 143_256)],
)
def test_parameter_counts(variant, trainable, non_trainable):
    model = build(get_config(variant).model)
    image = jax.ShapeDtypeStruct((1, 4, 32, 32, 1), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    assert count(variables["params"]) == trainable
    assert count(variables["batch_stats"]) == non_trainable


def test_stage_shapes_of_the_paper():
    model = build(get_config("ds").model)
    image = jax.ShapeDtypeStruct((1, 12, 224, 224, 1), jnp.float32)
    stages = [
        ("stem", (6, 112, 112, 96)),
        ("block1", (3, 56, 56, 224)),
        ("transition1", (3, 28, 28, 112)),
        ("block2", (3, 28, 28, 496)),
        ("transition2", (3, 14, 14, 248)),
        ("block3", (3, 14, 14, 1016)),
        ("transition3", (3, 7, 7, 508)),
        ("block4", (3, 7, 7, 1660)),
        ("up1", (3, 14, 14, 504)),
        ("up2", (3, 28, 28, 224)),
        ("up3", (3, 56, 56, 192)),
        ("up4", (6, 112, 112, 96)),
        ("up5", (12, 224, 224, 64)),
        ("head", (12, 224, 224, 3)),
    ]

    def run(x):
        names = {name for name, _ in stages}
        return model.init_with_output(
            jax.random.key(0),
            x,
            train=False,
            capture_intermediates=lambda module, method: module.name in names and len(module.path) == 1,
        )

    outputs, variables = jax.eval_shape(run, image)
    shapes = {name: tuple(variables["intermediates"][name]["__call__"][0].shape[1:]) for name, _ in stages}
    assert shapes == dict(stages)
    assert outputs.logits.shape == (1, 12, 224, 224, 3)


@pytest.mark.parametrize("link", ["add", "none", "project", "concat"])
@pytest.mark.parametrize("separable", [True, False])
def test_variants_give_float32_logits_of_the_input_size(link, separable):
    model = tiny(link=link, separable=separable)
    variables = model.first_values()
    image = jnp.zeros((2, 4, 64, 32, 1))
    logits = jax.eval_shape(lambda v: model.apply(v, image, train=False), variables).logits
    assert logits.shape == (2, 4, 64, 32, 3)
    assert logits.dtype == jnp.float32


def test_links_change_parameters_as_they_say():
    totals = {
        link: count(tiny(link=link).first_values()["params"]) for link in ("add", "none", "project", "concat")
    }
    assert totals["add"] == totals["none"]
    # Encoder maps: stem 6, blocks 10, 5 + 8 = 13, 6 + 4 = 10; maps they meet: block 4's 9, then 9, 8, 7.
    links = [(9, 10), (9, 13), (8, 10), (7, 6)]
    outputs = TINY["decoder_channels"]
    assert totals["project"] - totals["add"] == sum(up * skip + up for up, skip in links)
    assert totals["concat"] - totals["add"] == sum(27 * skip * out for (_, skip), out in zip(links, outputs))


def test_remat_changes_no_value_and_no_gradient(monkeypatch: pytest.MonkeyPatch):
    # Two blocks, one of them a scan of layers, in the forms that compile soonest.
    monkeypatch.setattr(conv, "form_on_cpu", lambda *_: "direct")
    monkeypatch.setattr(depthwise_choice, "fastest", lambda *_: "grouped")
    blocks = {"block_layers": (1, 2), "decoder_channels": (9, 8, 7)}
    image = jax.random.normal(jax.random.key(1), (2, 4, 32, 32, 1))
    variables = tiny(**blocks).first_values()

    def loss(model):
        def run(params):
            outputs, _ = model.apply(
                {**variables, "params": params}, image, train=True, mutable=["batch_stats"]
            )
            return jnp.sum(jnp.sin(outputs.logits))

        return jax.jit(jax.value_and_grad(run))(variables["params"])

    value, gradients = loss(tiny(**blocks))
    other_value, other_gradients = loss(tiny(**blocks, remat="layer"))
    np.testing.assert_allclose(other_value, value, rtol=1e-5)
    # Batch statistics over few voxels amplify rounding, so gradients are compared as whole vectors.
    flat = jnp.concatenate([g.ravel() for g in jax.tree.leaves(gradients)])
    other = jnp.concatenate([g.ravel() for g in jax.tree.leaves(other_gradients)])
    assert jnp.linalg.norm(flat - other) <= 1e-3 * jnp.linalg.norm(flat)


def test_the_heads_convolution_runs_in_float32():
    """Logits of bfloat16 maps are those sums themselves, not rounded to bfloat16, nor are the weights."""
    head = Head(64, 3, NormSettings(0.99, 1e-3))
    x = jax.random.normal(jax.random.key(0), (1, 2, 4, 4, 64), jnp.bfloat16)
    variables = head.init(jax.random.key(1), x, train=False)
    logits = head.apply(variables, x, train=False)
    assert logits.dtype == jnp.float32
    kernel = np.asarray(variables["params"]["conv"]["kernel"], np.float64)[0, 0, 0]
    # At first: mean 0, variance 1, scale 1, bias 0; the map itself stays bfloat16 up to the convolution.
    zeros, ones = jnp.zeros(64), jnp.ones(64)
    normalised = normalise_relu(x, zeros, ones, ones, zeros, 1e-3)
    assert normalised.dtype == jnp.bfloat16
    expected = np.asarray(normalised.astype(jnp.float32), np.float64) @ kernel
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    rounded = logits.astype(jnp.bfloat16).astype(jnp.float32)
    assert np.count_nonzero(rounded != logits) > 0.9 * logits.size


def test_bfloat16_keeps_parameters_and_logits_in_float32():
    model = tiny(dtype="bfloat16")
    variables = model.first_values()
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    image = jax.random.normal(jax.random.key(1), (1, 4, 32, 32, 1))
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, image).logits
    assert logits.dtype == jnp.float32
    exact = jax.jit(lambda v, x: tiny().apply(v, x, train=False))(variables, image).logits
    np.testing.assert_allclose(logits, exact, atol=0.1 * float(jnp.abs(exact).max()))


def test_patch_that_does_not_fit_names_the_nearest_that_do():
    with pytest.raises(InputError, match=r"\(8, 192, 224\) and \(12, 224, 224\)"):
        check_patch((4, 32, 32), (10, 200, 224))
    with pytest.raises(InputError, match="2 numbers"):
        check_patch((4, 32, 32), (32, 32))
    check_patch((4, 32, 32), (12, 224, 224))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "vnet"}, "dense_unet"),
        ({"link": "sum"}, "add, none, project, concat"),
        ({"dtype": "float16"}, "float32, bfloat16"),
        ({"decoder_channels": (4, 4)}, "5, one more than"),
    ],
)
def test_unknown_values_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        tiny(**changes)
