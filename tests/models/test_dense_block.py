"""The scanned block against its layers run one by one, and those against Flax's own layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dsdenseunet.models.dense_block import DenseBlock, unstack
from dsdenseunet.models.dense_layers import Features, dense_layer, features_of
from dsdenseunet.models.layers import NormSettings

NORM = NormSettings(momentum=0.9, epsilon=1e-3)


def merged(variables):
    """Parameters and running statistics in one tree, as `dense_layer` takes them."""
    stats = variables["batch_stats"]
    return {
        part: values
        | ({"mean": stats[part]["mean"], "variance": stats[part]["var"]} if part in stats else {})
        for part, values in variables["params"].items()
    }


def features(x, weights, train):
    """The map with what normalises it first."""
    return features_of(x) if train else Features(x, weights["norm1"]["mean"], weights["norm1"]["variance"])


def one_by_one(variables, x, block, train):
    """Runs the definition: each layer on the concatenation of everything before it."""
    seen = []
    for weights in unstack(merged(variables), block.sizes):
        first = features(x, weights, train)
        new, later = dense_layer(first, weights, NORM.epsilon, train)
        seen.append(dict(zip(("norm1", "norm2", "norm3"), [first, *later])))
        x = jnp.concatenate([x, new], -1)
    return x, seen


class FlaxLayer(nn.Module):
    """The separable dense layer written with Flax's own convolutions and normalisation."""

    growth_rate: int
    bottleneck: int

    @nn.compact
    def __call__(self, x, train):
        def norm(name):
            return nn.BatchNorm(not train, momentum=0.9, epsilon=1e-3, name=name)

        x = nn.Conv(self.bottleneck, (1, 1, 1), name="conv1")(nn.relu(norm("norm1")(x)))
        x = nn.relu(norm("norm2")(x))
        wide = self.bottleneck
        x = nn.Conv(wide, (3, 3, 3), padding=1, feature_group_count=wide, name="depthwise")(x)
        x = nn.relu(norm("norm3")(x))
        return nn.Conv(self.growth_rate, (1, 1, 1), use_bias=False, name="pointwise")(x)


def randomised(variables, seed):
    keys = iter(jax.random.split(jax.random.key(seed), 1000))
    return jax.tree.map(lambda a: a + 0.3 * jax.random.uniform(next(keys), a.shape), variables)


@pytest.mark.parametrize(
    ("separable", "remat", "train"),
    [
        (True, False, True),
        (True, False, False),
        (True, True, True),
        (False, False, True),
        (False, False, False),
        (False, True, True),
    ],
)
def test_scanned_block_equals_layers_one_by_one(separable, remat, train):
    # In float64: no tolerance has to allow for the order of sums. Batch statistics stay float32.
    with jax.enable_x64(True):
        compare_with_layers_one_by_one(separable, remat, train)


def compare_with_layers_one_by_one(separable, remat, train):
    block = DenseBlock(5, 3, 4, 8, separable, NORM, remat)
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 5, 5))
    variables = randomised(jax.jit(block.init, static_argnames="train")(jax.random.key(1), x, train=False), 2)

    def scanned(params, x):
        return block.apply({**variables, "params": params}, x, train, mutable=["batch_stats"])

    def plain(params, x):
        return one_by_one({**variables, "params": params}, x, block, train)

    def run(function):
        def loss(params, x):
            y, stats = function(params, x)
            return jnp.sum(y * jnp.cos(jnp.arange(y.size).reshape(y.shape))), (y, stats)

        gradients, values = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(variables["params"], x)
        return gradients, *values

    gradients, y, updates = run(scanned)
    expected_gradients, expected, seen = run(plain)
    tolerance = 1e-5 if train else 1e-12
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)
    for got, wanted in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected_gradients), strict=True):
        assert got.dtype == jnp.float64
        largest = max(1.0, float(jnp.abs(wanted).max()))
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * largest)
    if not train:
        return
    old = unstack(variables["batch_stats"], block.sizes)
    new = unstack(updates["batch_stats"], block.sizes)
    for layer, batch_moments in enumerate(seen):
        for part, (_, mean, variance) in batch_moments.items():
            for name, value in (("mean", mean), ("var", variance)):
                moved = 0.9 * old[layer][part][name] + 0.1 * value
                np.testing.assert_allclose(new[layer][part][name], moved, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("train", [True, False])
def test_layer_equals_flax_modules_with_grouped_convolution(train):
    block = DenseBlock(5, 1, 4, 8, True, NORM)
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 5, 5))
    variables = randomised(jax.jit(block.init, static_argnames="train")(jax.random.key(1), x, train=False), 2)
    (weights,) = unstack(merged(variables), block.sizes)
    got, _ = dense_layer(features(x, weights, train), weights, NORM.epsilon, train)
    peer = FlaxLayer(growth_rate=4, bottleneck=8)
    (params,), (stats,) = (unstack(variables[name], block.sizes) for name in ("params", "batch_stats"))
    expected = peer.apply({"params": params, "batch_stats": stats}, x, train, mutable=["batch_stats"])[0]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
