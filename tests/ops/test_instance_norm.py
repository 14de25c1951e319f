import jax
import jax.numpy as jnp
import numpy as np

from dsdenseunet.ops.axes import depth_to_space, space_to_depth
from dsdenseunet.ops.instance_norm import instance_norm


def test_each_sample_and_channel_gets_its_scale_and_bias():
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 5, 2)) * jnp.array([3.0, 0.1]) + 2
    y = instance_norm(x, jnp.array([1.0, 2.0]), jnp.array([0.0, 5.0]), 1e-9)
    np.testing.assert_allclose(y.mean((1, 2, 3)), [[0, 5], [0, 5]], atol=1e-4)
    np.testing.assert_allclose(y.std((1, 2, 3)), [[1, 2], [1, 2]], rtol=1e-3)
    assert instance_norm(x.astype(jnp.bfloat16), jnp.ones(2), jnp.zeros(2), 1e-5).dtype == jnp.bfloat16


def test_values_and_gradients_are_those_of_the_definition():
    keys = jax.random.split(jax.random.key(0), 4)
    x, gradient = (jax.random.normal(key, (2, 3, 4, 5, 3)) for key in keys[:2])
    weights = [jax.random.normal(key, (3,)) for key in keys[2:]]

    def definition(x, scale, bias):
        centred = x - x.mean((1, 2, 3), keepdims=True)
        return centred / jnp.sqrt((centred**2).mean((1, 2, 3), keepdims=True) + 0.1) * scale + bias

    def value_and_gradients(form):
        y, pull = jax.vjp(form, 2 * x + 1, *weights)
        return y, *pull(gradient)

    got = value_and_gradients(lambda x, scale, bias: instance_norm(x, scale, bias, 0.1))
    for a, b in zip(got, value_and_gradients(definition), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_a_constant_map_becomes_its_bias():
    y = instance_norm(jnp.full((1, 2, 2, 2, 1), 7.0), jnp.ones(1), jnp.full(1, 3.0), 1e-5)
    np.testing.assert_allclose(y, 3, atol=1e-3)


def test_a_cube_of_voxels_becomes_channels_depth_slowest_and_back():
    x = jnp.arange(2 * 4 * 2 * 2).reshape(1, 2, 4, 2, 2)
    y = space_to_depth(x)
    assert y.shape == (1, 1, 2, 1, 16)
    first = [x[0, d, h, w, c] for d in (0, 1) for h in (0, 1) for w in (0, 1) for c in (0, 1)]
    np.testing.assert_array_equal(y[0, 0, 0, 0], first)
    np.testing.assert_array_equal(depth_to_space(y), x)
