"""The scanned block against its layers run one by one, and those against Flax's own layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dsdenseunet.models.dense_block import DenseBlock, DenseLayer
from dsdenseunet.models.layers import NormSettings

NORM = NormSettings(momentum=0.9, epsilon=1e-3)


def one_by_one(variables, x, block, train):
    """Runs the definition: each layer on the concatenation of everything before it."""
    updates = {}
    for i in range(block.layers):
        layer = DenseLayer(x.shape[-1], block.growth_rate, block.bottleneck, block.separable, NORM)
        name = f"layer{i + 1:02d}"
        own = {collection: tree[name] for collection, tree in variables.items()}
        new, seen = layer.apply(own, x, train, mutable=["batch_stats"])
        updates[name] = seen["batch_stats"]
        x = jnp.concatenate([x, new], -1)
    return x, updates


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


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("remat", ["none", "layer", "block"])
@pytest.mark.parametrize("train", [True, False])
def test_scanned_block_equals_layers_one_by_one(separable, remat, train):
    block = DenseBlock(5, 3, 4, 8, separable, NORM, remat)
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 5, 5))
    variables = randomised(block.init(jax.random.key(1), x, train=False), 2)

    def scanned(params, x):
        return block.apply({**variables, "params": params}, x, train, mutable=["batch_stats"])

    def plain(params, x):
        return one_by_one({**variables, "params": params}, x, block, train)

    def loss(run, params, x):
        y, _ = run(params, x)
        return jnp.sum(y * jnp.cos(jnp.arange(y.size).reshape(y.shape)))

    got, got_stats = jax.jit(scanned)(variables["params"], x)
    expected, expected_stats = jax.jit(plain)(variables["params"], x)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    for a, b in zip(jax.tree.leaves(got_stats["batch_stats"]), jax.tree.leaves(expected_stats), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    got_gradients = jax.jit(jax.grad(loss, argnums=(1, 2)), static_argnums=0)(scanned, variables["params"], x)
    expected_gradients = jax.jit(jax.grad(loss, argnums=(1, 2)), static_argnums=0)(
        plain, variables["params"], x
    )
    for a, b in zip(jax.tree.leaves(got_gradients), jax.tree.leaves(expected_gradients), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("train", [True, False])
def test_layer_equals_flax_modules_with_grouped_convolution(train):
    layer = DenseLayer(5, 4, 8, True, NORM)
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 5, 5))
    variables = randomised(layer.init(jax.random.key(1), x, train=False), 2)
    got, updates = layer.apply(variables, x, train, mutable=["batch_stats"])
    peer = FlaxLayer(growth_rate=4, bottleneck=8)
    expected, expected_updates = peer.apply(variables, x, train, mutable=["batch_stats"])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        updates["batch_stats"],
        expected_updates["batch_stats"],
    )
