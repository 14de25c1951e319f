"""Pooling by hand, and against `lax.reduce_window`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dsdenseunet.ops.pool import average_pool_pairs, max_pool, max_pool_pairs


def reference(x):
    return nn.max_pool(x, (3,) * 3, (2,) * 3, ((1, 1),) * 3)


def test_pads_on_both_sides_with_the_lowest_value():
    x = -jnp.arange(1.0, 7.0).reshape(1, 1, 1, 6, 1)
    # Windows with stride 2 cover the indices (-1, 0, 1), (1, 2, 3), (3, 4, 5).
    np.testing.assert_array_equal(max_pool(x).ravel(), [-1.0, -2.0, -4.0])


def test_gradient_goes_to_the_first_of_equal_voxels():
    x = jnp.array([1.0, 2.0, 2.0, 2.0, 0.0]).reshape(1, 1, 1, 5, 1)
    # Windows (1, 2), (2, 2, 2), (2, 0): the last one's first voxel is the second one's last.
    weights = jnp.array([1.0, 10.0, 100.0]).reshape(1, 1, 1, 3, 1)
    gradient = jax.grad(lambda x: jnp.sum(max_pool(x) * weights))(x)
    np.testing.assert_array_equal(gradient.ravel(), [0.0, 11.0, 0.0, 100.0, 0.0])


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 4, 5), (6, 2, 7), (4, 1, 4)])
def test_equals_reduce_window_with_many_equal_values(size):
    @jax.jit
    def both(x, gradient):
        y, pull = jax.vjp(max_pool, x)
        expected, expected_pull = jax.vjp(reference, x)
        return (y, *pull(gradient)), (expected, *expected_pull(gradient))

    for seed in range(20):
        rng = np.random.default_rng(seed)
        # A few different values, so that most windows have their maximum more than once.
        x = rng.integers(0, 1 + seed % 4, (2, *size, 2)).astype(np.float32)
        gradient = rng.integers(-50, 50, (2, *(-(-n // 2) for n in size), 2)).astype(np.float32)
        for got, expected in zip(*both(x, gradient), strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_keeps_the_type(dtype):
    x = jnp.ones((1, 2, 2, 2, 1), dtype)
    y, pull = jax.vjp(max_pool, x)
    assert y.dtype == pull(y)[0].dtype == dtype


def test_only_the_named_axes_are_pooled():
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 6, 2))
    expected = nn.max_pool(x, (1, 3, 3), (1, 2, 2), ((0, 0), (1, 1), (1, 1)))
    np.testing.assert_array_equal(max_pool(x, (2, 3)), expected)


def test_pairs():
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 6, 2))
    window = (2, 2, 2)
    np.testing.assert_array_equal(max_pool_pairs(x, (1, 2, 3)), nn.max_pool(x, window, window))
    expected = nn.avg_pool(x, (1, 2, 2), (1, 2, 2))
    np.testing.assert_allclose(average_pool_pairs(x, (2, 3)), expected, rtol=1e-5, atol=1e-6)
