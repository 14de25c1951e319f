"""The scanned block against its layers run one by one, and against the plain block of Flax's own layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsdenseunet.models import plain
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


def randomised(variables, seed):
    keys = iter(jax.random.split(jax.random.key(seed), 1000))
    return jax.tree.map(lambda a: a + 0.3 * jax.random.uniform(next(keys), a.shape), variables)


# Training without recomputing is held to the plain block below.
@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize(("remat", "train"), [(False, False), (True, True)])
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


def by_layer(tree, sizes):
    """Parameters, statistics or gradients of the fast block, named as the plain one has them."""
    return {f"layer{number}": own for number, own in enumerate(unstack(tree, sizes))}


def values_gradients_statistics(block, variables, x, train):
    """Of a sum in which every output voxel has a weight of its own."""

    def loss(params, x):
        y, updates = block.apply({**variables, "params": params}, x, train, mutable=["batch_stats"])
        return jnp.sum(y * jnp.cos(jnp.arange(y.size).reshape(y.shape))), (y, updates["batch_stats"])

    (by_params, by_x), (y, statistics) = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(
        variables["params"], x
    )
    return y, by_x, by_params, statistics


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("train", [True, False])
def test_the_fast_block_equals_the_plain_one(separable, train):
    # In float64, but for the fast block's normalisations.
    with jax.enable_x64(True):
        compare_with_plain(separable, train)


def compare_with_plain(separable, train):
    fast = DenseBlock(5, 3, 4, 8, separable, NORM)
    slow = plain.DenseBlock(3, 4, 8, separable, NORM.momentum, NORM.epsilon)
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 5, 5))
    variables = randomised(jax.jit(fast.init, static_argnames="train")(jax.random.key(1), x, train=False), 2)
    renamed = {name: by_layer(tree, fast.sizes) for name, tree in variables.items()}

    y, by_x, by_params, statistics = values_gradients_statistics(fast, variables, x, train)
    expected = values_gradients_statistics(slow, renamed, x, train)
    got = (y, by_x, by_layer(by_params, fast.sizes), by_layer(statistics, fast.sizes))
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        largest = max(1.0, float(jnp.abs(other).max()))
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * largest)
