"""The shifted form and the GPU kernel against XLA's grouped convolution, values and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsdenseunet import ops
from dsdenseunet.ops.cpu import depthwise_sums
from dsdenseunet.ops.depthwise import depthwise_conv, transposed_depthwise_conv
from tests import documents


def random_case(shape, kernel, seed, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(seed), 2)
    x = jax.random.normal(keys[0], shape, dtype)
    return x, jax.random.normal(keys[1], (*kernel, 1, shape[-1]), dtype)


@functools.partial(jax.jit, static_argnums=(2, 3))
def value_and_gradients(x, kernel, stride, implementation):
    y = depthwise_conv(x, kernel, stride, implementation)
    weights = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape).astype(y.dtype)
    gradients = jax.grad(
        lambda x, k: jnp.sum((depthwise_conv(x, k, stride, implementation) * weights).astype(jnp.float32)),
        argnums=(0, 1),
    )(x, kernel)
    return y, *gradients


# Each example is compiled anew, so few examples, small kernels.
@settings(max_examples=12, deadline=None)
@given(
    st.tuples(*[st.integers(1, n) for n in (2, 5, 7, 7, 3)]),
    st.tuples(*[st.sampled_from([1, 3])] * 3),
    st.tuples(*[st.integers(1, 3)] * 3),
    st.integers(0, 99),
)
def test_shifted_equals_grouped(shape, kernel, stride, seed):
    x, kernel = random_case(shape, kernel, seed)
    expected = value_and_gradients(x, kernel, stride, "grouped")
    got = value_and_gradients(x, kernel, stride, "shifted")
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 1)])
def test_more_taps_than_one_loop_takes_equal_grouped(stride):
    x, kernel = random_case((1, 4, 3, 3, 2), (5, 3, 3), 0)
    assert kernel[..., 0, 0].size > depthwise_sums.MOST_TAPS
    expected = value_and_gradients(x, kernel, stride, "grouped")
    for a, b in zip(value_and_gradients(x, kernel, stride, "shifted"), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("sides", "kernel", "stride"),
    [
        ((2, 3, 2), (3, 3, 3), (2, 2, 2)),
        ((2, 2, 3), (1, 3, 5), (1, 3, 2)),
        ((2, 3, 2), (5, 5, 5), (2, 2, 2)),
    ],
)
def test_transposed_is_the_transpose_of_the_grouped_one(sides, kernel, stride):
    x, kernel = random_case((1, *sides, 2), kernel, 0)
    large = jax.ShapeDtypeStruct((1, *((n - 1) * s + 1 for n, s in zip(sides, stride)), 2), jnp.float32)

    def by_transposition(x, kernel):
        grouped = functools.partial(depthwise_conv, kernel=kernel, stride=stride, implementation="grouped")
        return jax.linear_transpose(grouped, large)(x)[0]

    def value_and_gradients(form):
        weights = jnp.cos(jnp.arange(large.size, dtype=jnp.float32)).reshape(large.shape)
        gradients = jax.grad(lambda x, kernel: jnp.sum(form(x, kernel) * weights), argnums=(0, 1))
        return form(x, kernel), *gradients(x, kernel)

    fast = functools.partial(transposed_depthwise_conv, stride=stride)
    got, expected = (
        jax.jit(lambda form=form: value_and_gradients(form))() for form in (fast, by_transposition)
    )
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


# The kernel is interpreted here: every index and mask is that of the GPU. More channels than a tile has, and
# fewer; what the last tile lacks.
@settings(max_examples=5, deadline=None)
@given(
    st.tuples(*[st.integers(1, n) for n in (2, 4, 6, 6)], st.sampled_from([1, 3, 130])),
    st.tuples(*[st.sampled_from([1, 3])] * 3),
    st.sampled_from([(1, 1, 1), (1, 2, 2), (2, 1, 3)]),
    st.integers(0, 99),
)
def test_pallas_equals_grouped(shape, kernel, stride, seed):
    x, kernel = random_case(shape, kernel, seed)
    expected = value_and_gradients(x, kernel, stride, "grouped")
    got = value_and_gradients(x, kernel, stride, "pallas")
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_pallas_sums_over_many_tiles_a_program():
    """Of the filter gradient: enough voxels that every program takes several tiles."""
    x, kernel = random_case((1, 3, 40, 40, 128), (3, 3, 3), 0)
    expected = value_and_gradients(x, kernel, (1, 1, 1), "grouped")
    got = value_and_gradients(x, kernel, (1, 1, 1), "pallas")
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("implementation", ["shifted", "pallas"])
def test_bfloat16_keeps_its_type_and_agrees_to_its_precision(implementation):
    x, kernel = random_case((1, 3, 6, 6, 4), (3, 3, 3), 0, jnp.bfloat16)
    exact = value_and_gradients(x.astype(jnp.float32), kernel.astype(jnp.float32), (1, 2, 2), "grouped")
    got = value_and_gradients(x, kernel, (1, 2, 2), implementation)
    for a, b in zip(got, exact, strict=True):
        assert a.dtype == jnp.bfloat16
        np.testing.assert_allclose(a.astype(jnp.float32), b, rtol=0.05, atol=0.15)


def test_the_documented_call_runs():
    (block,) = documents.blocks(documents.ROOT / "docs/explanation/depthwise.md")
    names = {}
    exec(compile(block.text, block.where, "exec"), names)
    shapes = [names[name].shape for name in ("values", "by_image", "by_kernel")]
    assert shapes == [(1, 7, 9, 11, 4), names["image"].shape, names["kernel"].shape]


def test_the_package_has_them_for_others():
    assert ops.depthwise_conv is depthwise_conv
    assert ops.transposed_depthwise_conv is transposed_depthwise_conv
    with pytest.raises(AttributeError, match="no attribute 'grouped_conv'"):
        _ = ops.grouped_conv


@pytest.mark.parametrize("implementation", ["grouped", "shifted", "pallas", "auto"])
def test_hand_computed_edge(implementation):
    x = jnp.arange(1.0, 5.0).reshape(1, 1, 1, 4, 1)
    kernel = jnp.array([1.0, 10.0, 100.0]).reshape(1, 1, 3, 1, 1)
    y = depthwise_conv(x, kernel, implementation=implementation)
    np.testing.assert_array_equal(y.ravel(), [210.0, 321.0, 432.0, 43.0])
