"""Statistics and normalisation, also where there is little to normalise by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsdenseunet.ops.batch_norm import moments, normalise_relu

EPSILON = 1e-3


@jax.jit
def normalised(x_BDHWC):
    mean, variance = moments(x_BDHWC)
    ones = jnp.ones_like(mean)
    return normalise_relu(x_BDHWC, mean, variance, ones, 0.5 * ones, EPSILON), mean, variance


gradient = jax.jit(jax.grad(lambda x_BDHWC: jnp.sum(jnp.sin(normalised(x_BDHWC)[0]))))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 3), (2, 3, 1, 4, 3)])
@settings(deadline=None)
@given(values=st.lists(st.floats(-100, 100, width=32, allow_subnormal=False), min_size=3, max_size=3))
def test_a_channel_of_one_value_becomes_its_bias_with_a_finite_gradient(shape, values):
    """As many voxels as one: nothing is divided by a variance of 0, and rounding makes none negative."""
    x_BDHWC = jnp.broadcast_to(jnp.asarray(values, jnp.float32), shape)
    y_BDHWC, mean, variance = normalised(x_BDHWC)
    np.testing.assert_allclose(mean, values, rtol=1e-6)
    assert np.all((variance >= 0) & (variance <= 1e-6 * np.square(values)))
    np.testing.assert_allclose(y_BDHWC, 0.5, atol=1e-2)
    assert np.isfinite(gradient(x_BDHWC)).all()


@settings(deadline=None)
@given(
    mean=st.floats(-100, 100),
    deviation=st.floats(0.1, 100),
    seed=st.integers(0, 100),
    dtype=st.sampled_from([jnp.float32, jnp.bfloat16]),
)
def test_moments_are_those_of_float64(mean, deviation, seed, dtype):
    rng = np.random.default_rng(seed)
    x_BDHWC = jnp.asarray(mean + deviation * rng.standard_normal((2, 3, 4, 5, 2)), dtype)
    _, means, variances = normalised(x_BDHWC)
    exact = np.asarray(x_BDHWC.astype(jnp.float32), np.float64)
    expected = exact.mean((0, 1, 2, 3))
    np.testing.assert_allclose(means, expected, rtol=1e-5, atol=1e-5 * deviation)
    np.testing.assert_allclose(
        variances, exact.var((0, 1, 2, 3)), rtol=1e-4, atol=1e-6 * float(np.square(expected).max())
    )
