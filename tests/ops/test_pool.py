"""Max pooling by hand."""

import jax.numpy as jnp
import numpy as np

from dsdenseunet.ops.pool import max_pool


def test_pads_on_both_sides_with_the_lowest_value():
    x = -jnp.arange(1.0, 7.0).reshape(1, 1, 1, 6, 1)
    # Windows with stride 2 cover the indices (-1, 0, 1), (1, 2, 3), (3, 4, 5).
    np.testing.assert_array_equal(max_pool(x, 3, 2).ravel(), [-1.0, -2.0, -4.0])
