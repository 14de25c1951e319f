import jax
import jax.numpy as jnp
import numpy as np

from dsdenseunet.ops.gelu import gelu


def test_values_and_gradients_are_those_of_the_exact_form():
    x = jnp.linspace(-12, 12, 4001)
    for got, expected in zip(
        jax.vmap(jax.value_and_grad(gelu))(x),
        jax.vmap(jax.value_and_grad(lambda x: jax.nn.gelu(x, approximate=False)))(x),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_bfloat16_is_rounded_once():
    x = jnp.linspace(-4, 4, 99).astype(jnp.bfloat16)
    got = gelu(x)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_array_equal(got, gelu(x.astype(jnp.float32)).astype(jnp.bfloat16))
