import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from dsdenseunet.preflight.definition import parse

SPECS = ("NDHWC", "DHWIO", "NDHWC")


def lowered(function, *shapes):
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.jit(function).trace(*arguments).lower().as_text()


@given(
    side=st.integers(3, 6),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    lhs_dilation=st.integers(1, 3),
    rhs_dilation=st.integers(1, 2),
    groups=st.sampled_from([(1, 1), (2, 1), (1, 2)]),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_values_are_those_of_any_convolution(
    side, kernel, stride, padding, lhs_dilation, rhs_dilation, groups, seed
):
    features, batches = groups
    lhs_shape, rhs_shape = (2 * batches, side, side, 4, 2 * features), (kernel, kernel, 2, 2, 4)

    def convolve(lhs, rhs):
        return lax.conv_general_dilated(
            lhs,
            rhs,
            (stride, 1, 1),
            [padding, (1, 1), (0, 1)],
            (lhs_dilation, 1, 1),
            (rhs_dilation, 1, 1),
            SPECS,
            features,
            batches,
        )

    if (side - 1) * lhs_dilation + 1 + sum(padding) < (kernel - 1) * rhs_dilation + 1:
        return
    (convolution,) = parse(lowered(convolve, lhs_shape, rhs_shape))
    generator = np.random.default_rng(seed)
    lhs, rhs = (generator.normal(size=shape).astype(np.float32) for shape in (lhs_shape, rhs_shape))
    expected = np.asarray(convolve(lhs, rhs))
    assert convolution.out == expected.shape
    np.testing.assert_allclose(np.asarray(convolution.run(lhs, rhs)), expected, rtol=1e-6, atol=1e-6)
    places = np.argwhere(np.ones(expected.shape))[:: max(1, expected.size // 50)]
    values = convolution.values_at(lhs, rhs, places)
    np.testing.assert_allclose(values, expected[tuple(places.T)], rtol=1e-4, atol=1e-4)


def test_gradients_are_convolutions_too():
    def convolve(lhs, rhs):
        return lax.conv_general_dilated(lhs, rhs, (2, 2, 2), [(1, 1)] * 3, dimension_numbers=SPECS)

    shapes = (2, 5, 6, 7, 3), (3, 3, 3, 3, 4)
    gradient = jax.grad(lambda lhs, rhs: jnp.sum(convolve(lhs, rhs) ** 2), argnums=(0, 1))
    found = parse(lowered(gradient, *shapes))
    assert len(found) == 3, "the values and two gradients"
    generator = np.random.default_rng(0)
    for convolution in found:
        lhs, rhs = (
            generator.normal(size=shape).astype(np.float32) for shape in (convolution.lhs, convolution.rhs)
        )
        expected = np.asarray(convolution.run(lhs, rhs))
        places = np.argwhere(np.ones(expected.shape))
        values = convolution.values_at(lhs, rhs, places)
        np.testing.assert_allclose(values, expected[tuple(places.T)], rtol=1e-4, atol=1e-4)


def test_a_form_that_is_not_known_is_an_error():
    with pytest.raises(ValueError, match="unknown form"):
        parse("%1 = stablehlo.convolution(%2, %3) of another age")
