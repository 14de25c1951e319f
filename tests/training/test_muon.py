import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs.base import base_config
from dsdenseunet.training import optimizer
from dsdenseunet.training.muon import COEFFICIENTS, orthogonal, scale_by_muon
from dsdenseunet.training.schedules import StepDecay


def reference(matrix):
    """By an SVD, in float64: the polynomials act on each singular value alone."""
    u, values, v = np.linalg.svd(np.asarray(matrix, np.float64), full_matrices=False)
    values /= 1.01 * np.sqrt((values**2).sum())
    for a, b, c in COEFFICIENTS:
        values = a * values + b * values**3 + c * values**5
    return u * values @ v


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (1, 4), (6, 6)])
def test_singular_vectors_stay_and_values_go_through_the_polynomials(shape):
    # The polynomials are up to 133 times steeper than 1, so rounding counts as often.
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    got = orthogonal(jnp.asarray(matrix))
    np.testing.assert_allclose(got, reference(matrix), atol=1e-4)
    # Whatever the gradient's size; and a gradient of nothing is no step.
    np.testing.assert_allclose(orthogonal(jnp.asarray(1e3 * matrix)), got, atol=1e-4)
    assert not np.any(orthogonal(jnp.zeros(shape)))


def test_singular_values_come_near_to_one():
    values = np.linalg.svd(orthogonal(jnp.diag(jnp.asarray([1.0, 0.3, 0.05, 0.01]))), compute_uv=False)
    assert 0.18 < values.min() < values.max() < 1.88


def test_momentum_and_size_of_a_step_by_hand():
    # One row: its only singular value is 1 / 1.01 at first, in the direction of the average gradient.
    muon, gradients = scale_by_muon(0.5, 3.0), [[[4.0, 0.0]], [[0.0, 2.0]]]
    state = muon.init(jnp.zeros((1, 2)))
    for gradient in gradients:
        step, state = muon.update(jnp.asarray(gradient), state)
    # 0.5 x 2 + 0.5 x (0, 2) = (1, 1).
    np.testing.assert_allclose(state.momentum, [[1.0, 1.0]])
    np.testing.assert_allclose(step, 3 * 0.2 * 2**0.5 * reference([[1.0, 1.0]]), rtol=1e-5)


def test_a_convolution_is_one_matrix_and_a_stack_is_many():
    kernels = np.random.default_rng(0).normal(size=(2, 1, 1, 2, 3, 4)).astype(np.float32)
    muon = scale_by_muon(0.0, 1.0)
    stacked, _ = muon.update(jnp.asarray(kernels), muon.init(kernels))
    for got, kernel in zip(stacked, kernels):
        alone, _ = muon.update(jnp.asarray(kernel), muon.init(kernel))
        np.testing.assert_allclose(got, alone, atol=1e-6)
        expected = 0.2 * 6**0.5 * reference(kernel.reshape(6, 4)).reshape(kernel.shape)
        np.testing.assert_allclose(alone, expected, atol=1e-4)


def test_hidden_matrices_have_muon_and_the_rest_adam():
    config = base_config().optimizer
    config.name, config.muon_parameters = "muon", ("params/up*",)
    shapes = {
        "stem": {"kernel": (2, 3)},
        "up1": {"kernel": (2, 3), "bias": (3,)},
        # Depthwise: each channel meets itself alone.
        "up2": {"kernel": (3, 3, 3, 1, 2)},
    }
    rng = np.random.default_rng(0)

    def draw():
        is_shape = {"is_leaf": lambda leaf: isinstance(leaf, tuple)}
        return jax.tree.map(
            lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32), shapes, **is_shape
        )

    params, gradient = draw(), draw()
    assert optimizer.muon_or_adam(params, config.muon_parameters) == {
        "stem": {"kernel": "adam"},
        "up1": {"kernel": "muon", "bias": "adam"},
        "up2": {"kernel": "adam"},
    }
    made = optimizer.build(config, StepDecay(0.1, 1.0, 1, 0.0))
    got, _ = jax.jit(made.update)(gradient, made.init(params), params)
    adam, _ = (peer := optax.adam(0.1)).update(gradient, peer.init(params), params)
    muon = -0.1 * config.muon_scale * 0.2 * 3**0.5 * reference(gradient["up1"]["kernel"])
    np.testing.assert_allclose(got["up1"].pop("kernel"), muon, atol=1e-4)
    adam["up1"].pop("kernel")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, adam)
