"""The fast convolution against XLA's direct one, values and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsdenseunet.ops import conv
from dsdenseunet.ops.cpu import winograd


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradients(function, x, kernel, weights):
    y, pull_back = jax.vjp(function, x, kernel)
    return y, *pull_back(weights)


@pytest.mark.parametrize(
    ("case", "form"),
    [
        (((1, 3, 36, 36, 5), 6, (3, 3, 3), (1, 1, 1)), "winograd"),  # one band
        (((2, 1, 26, 26, 5), 6, (3, 3, 3), (1, 1, 1)), "winograd"),  # a single plane
        (((1, 2, 28, 26, 5), 6, (3, 3, 3), (1, 1, 1)), "winograd"),  # two planes
        (((2, 4, 64, 60, 3), 6, (3, 3, 3), (1, 1, 1)), "winograd"),  # several bands, two volumes
        (((1, 6, 62, 57, 2), 6, (3, 3, 3), (1, 1, 1)), "winograd"),  # sides that no tile divides
        (((1, 3, 8, 9, 4), 6, (3, 3, 3), (1, 1, 1)), "tap by tap"),
        (((2, 4, 7, 6, 7), 4, (5, 1, 3), (1, 1, 1)), "tap by tap"),  # sides that differ
        (((2, 3, 10, 7, 20), 6, (3, 3, 3), (1, 1, 1)), "few outputs"),
        (((2, 3, 14, 12, 6), 6, (3, 3, 3), (1, 2, 2)), "strided"),  # a transition
        (((1, 3, 13, 7, 6), 5, (3, 3, 3), (2, 2, 1)), "strided"),  # sides that the stride does not divide
        (((1, 4, 12, 10, 1), 6, (7, 7, 7), (2, 2, 2)), "few inputs"),  # the stem
        (((1, 4, 9, 10, 1), 10, (3, 3, 3), (1, 1, 1)), "few inputs"),  # a plain network's first one
        (((1, 4, 40, 41, 2), 3, (1, 5, 5), (1, 1, 1)), "direct"),
    ],
)
def test_equals_direct_convolution(case, form):
    shape, features, size, stride = case
    assert conv.form_on_cpu(shape, (*size, shape[-1], features), stride) == form
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], shape)
    kernel = jax.random.normal(keys[1], (*size, shape[-1], features))
    out = (shape[0], *(-(-n // s) for n, s in zip(shape[1:4], stride)), features)
    weights = jax.random.normal(keys[2], out)
    got = value_and_gradients(functools.partial(conv.conv3d, stride=stride), x, kernel, weights)
    expected = value_and_gradients(functools.partial(conv.direct_conv, stride=stride), x, kernel, weights)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-5 * float(jnp.abs(b).max()))


def test_hand_computed_impulse():
    x = jnp.zeros((1, 3, 5, 5, 1)).at[0, 1, 2, 2, 0].set(1.0)
    kernel = jnp.arange(27.0).reshape(3, 3, 3, 1, 1)
    y = winograd.conv(x, kernel)
    # Cross-correlation lays the mirrored kernel around the impulse.
    np.testing.assert_allclose(y[0, :, 1:4, 1:4, 0], kernel[::-1, ::-1, ::-1, 0, 0], atol=1e-4)


@pytest.mark.parametrize("stride", [(1, 2, 2), (2, 2, 2)])
def test_stride_pads_both_sides(stride):
    x = jnp.ones((1, 4, 6, 6, 1))
    y = conv.conv3d(x, jnp.ones((3, 3, 3, 1, 1)), stride)
    # The first window of each axis misses one voxel on its low side, where k // 2 = 1 pads.
    assert y.shape[1:4] == tuple(-(-n // s) for n, s in zip((4, 6, 6), stride))
    assert y[0, 0, 0, 0, 0] == 8.0
    assert y[0, 0, 1, 1, 0] == 18.0


def test_pointwise_is_a_matrix_product():
    x = jax.random.normal(jax.random.key(0), (2, 2, 3, 3, 4))
    kernel = jax.random.normal(jax.random.key(1), (1, 1, 1, 4, 5))
    np.testing.assert_allclose(
        conv.pointwise_conv(x, kernel), conv.direct_conv(x, kernel), rtol=1e-5, atol=1e-5
    )
