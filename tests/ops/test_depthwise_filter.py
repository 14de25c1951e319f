"""The forms of the depthwise convolution's kernel gradient against its definition."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsdenseunet.ops.axes import pad_for
from dsdenseunet.ops.cpu.depthwise_filter import by_plane, by_row, by_strip, fastest

# Odd kernels of unequal sides, strides that do not divide the map, several volumes.
CASES = [
    ((2, 3, 4, 5, 3), (3, 3, 3), (1, 1, 1)),
    ((1, 2, 5, 3, 2), (1, 5, 3), (1, 1, 1)),
    ((1, 4, 10, 7, 3), (3, 1, 5), (2, 1, 3)),
    ((1, 3, 4, 6, 2), (3, 3, 3), (1, 2, 2)),
]


def definition(padded, gradient, size, stride):
    sums = []
    for tap in itertools.product(*map(range, size)):
        window = tuple(
            slice(first, first + step * (side - 1) + 1, step)
            for first, step, side in zip(tap, stride, gradient.shape[1:4])
        )
        sums.append((padded[:, *window] * gradient).sum((0, 1, 2, 3)))
    return np.stack(sums)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("form", "case"),
    list(itertools.product((by_row, by_plane, by_strip), CASES)),
)
def test_equals_the_definition(form, case, dtype):
    shape, size, stride = case
    keys = jax.random.split(jax.random.key(0), 2)
    out = (shape[0], *(-(-side // step) for side, step in zip(shape[1:4], stride)), shape[4])
    padded = pad_for(jax.random.normal(keys[0], shape), size).astype(dtype)
    gradient = jax.random.normal(keys[1], out).astype(dtype)
    got = jax.jit(form, static_argnums=(2, 3))(padded, gradient, size, stride)
    assert got.dtype == jnp.float32
    expected = definition(
        *(np.asarray(array.astype(jnp.float32), np.float64) for array in (padded, gradient)), size, stride
    )
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "stride", "form"),
    [
        ((1, 20, 28, 20, 32), (1, 1, 1), by_strip),
        ((1, 10, 14, 10, 96), (1, 1, 1), by_plane),
        ((2, 10, 14, 10, 64), (1, 1, 1), by_plane),
        ((1, 3, 56, 56, 128), (1, 1, 1), by_row),
        ((1, 20, 28, 20, 32), (1, 2, 2), by_row),
    ],
)
def test_the_fastest_form_is_taken(shape, stride, form):
    assert fastest(shape, stride) is form
