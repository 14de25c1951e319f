"""Upsampling against jax.image.resize and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsdenseunet.ops.upsample import upsample_from_corners, upsample_linear, upsample_nearest


def test_hand_computed():
    x = jnp.array([0.0, 4.0]).reshape(1, 1, 1, 2, 1)
    np.testing.assert_array_equal(upsample_linear(x, (3,)).ravel(), [0.0, 1.0, 3.0, 4.0])


@pytest.mark.parametrize("axes", [(2, 3), (1, 2, 3)])
def test_equals_image_resize(axes):
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 5, 6))
    shape = tuple(n * 2 if axis in axes else n for axis, n in enumerate(x.shape))
    expected = jax.image.resize(x, shape, "linear")
    np.testing.assert_allclose(upsample_linear(x, axes), expected, rtol=1e-6, atol=1e-6)
    gradient = jax.random.normal(jax.random.key(1), shape)
    (got,) = jax.vjp(lambda x: upsample_linear(x, axes), x)[1](gradient)
    (wanted,) = jax.vjp(lambda x: jax.image.resize(x, shape, "linear"), x)[1](gradient)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_one_voxel_is_repeated():
    x = jnp.full((1, 1, 1, 1, 1), 3.0)
    np.testing.assert_array_equal(upsample_linear(x, (1, 2, 3)).ravel(), np.full(8, 3.0))
    (gradient,) = jax.vjp(lambda x: upsample_linear(x, (3,)), x)[1](jnp.ones((1, 1, 1, 2, 1)))
    assert gradient.item() == 2.0


def test_nearest_repeats_each_value():
    x = jnp.arange(8.0).reshape(1, 2, 2, 2, 1)
    expected = np.repeat(np.repeat(x, 2, axis=2), 2, axis=3)
    np.testing.assert_array_equal(upsample_nearest(x, (2, 3)), expected)


def test_from_corners_by_hand():
    x = jnp.array([[0.0, 4.0], [8.0, 2.0]]).reshape(1, 1, 2, 2, 1)
    expected = [[0, 2, 4, 4], [4, 3.5, 3, 3], [8, 5, 2, 2], [8, 5, 2, 2]]
    np.testing.assert_array_equal(upsample_from_corners(x, (2, 3))[0, 0, :, :, 0], expected)
