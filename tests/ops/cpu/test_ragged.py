"""Padding of groups of rows, by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from dsdenseunet.ops.cpu.ragged import pad_rows, split_rows


def test_spreads_and_gathers_gradients_back():
    flat = jnp.arange(1.0, 6.0)[:, None]
    padded, pull_back = jax.vjp(lambda rows: pad_rows(rows, (2, 3), 4), flat)
    np.testing.assert_array_equal(padded[..., 0], [[1, 2, 0, 0], [3, 4, 5, 0]])
    (gradient,) = pull_back(jnp.arange(8.0).reshape(2, 4, 1))
    np.testing.assert_array_equal(gradient[:, 0], [0, 1, 4, 5, 6])


def test_split_gives_the_groups():
    first, second = split_rows(np.arange(5), (2, 3))
    np.testing.assert_array_equal(first, [0, 1])
    np.testing.assert_array_equal(second, [2, 3, 4])
