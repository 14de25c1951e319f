"""Sums by planes are those of the form with the classes last, which other tests hold to hand-made numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsdenseunet.losses import cross_entropy, planes, tversky

IGNORE = 255
WEIGHTS = (0.2, 0.0, 2.2, 1.5)


def example(classes, dtype=jnp.float32):
    generator = np.random.default_rng(classes)
    logits = generator.normal(0, 3, (2, 3, 4, 5, classes))
    labels = generator.choice([*range(classes), IGNORE], (2, 3, 4, 5)).astype(np.int32)
    return jnp.asarray(logits, dtype), jnp.asarray(labels)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("classes", range(2, planes.FEW + 1))
def test_cross_entropy(classes, dtype):
    logits, labels = example(classes, dtype)
    weights = WEIGHTS[:classes]
    value, gradient = jax.value_and_grad(planes.summed_cross_entropy, 2)(weights, IGNORE, logits, labels)
    expected = jax.value_and_grad(cross_entropy._summed_cross_entropy, 2)(weights, IGNORE, logits, labels)
    assert gradient.dtype == logits.dtype
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    np.testing.assert_allclose(
        gradient.astype(jnp.float32),
        expected[1].astype(jnp.float32),
        rtol=1e-5 if dtype == "float32" else 1e-2,
        atol=1e-6,
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("classes", range(2, planes.FEW + 1))
def test_soft_counts(classes, dtype):
    logits, labels = example(classes, dtype)
    cotangents = [
        jnp.asarray(np.random.default_rng(seed).normal(size=(2, classes - 1)), jnp.float32)
        for seed in range(3)
    ]

    def both(soft_counts):
        counts, backward = jax.vjp(lambda z: soft_counts(z, labels, IGNORE), logits)
        return counts, backward(tuple(cotangents))[0]

    (counts, gradient), (expected, expected_gradient) = both(planes.soft_counts), both(tversky._soft_counts)
    assert gradient.dtype == logits.dtype
    for one, other in zip(counts, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    np.testing.assert_allclose(
        gradient.astype(jnp.float32),
        expected_gradient.astype(jnp.float32),
        rtol=1e-4 if dtype == "float32" else 2e-2,
        atol=1e-6 if dtype == "float32" else 1e-2,
    )


@pytest.mark.parametrize("term", [cross_entropy.CrossEntropy((1.0,) * 6), tversky.Dice()])
def test_many_classes_take_the_form_with_the_classes_last(term):
    logits, labels = example(6)
    few = term if isinstance(term, tversky.Dice) else cross_entropy.CrossEntropy((1.0,) * 3)
    slices = [
        str(jax.make_jaxpr(one.sums, static_argnums=2)(z, labels, IGNORE)).count(" slice[")
        for one, z in ((term, logits), (few, logits[..., :3]))
    ]
    assert slices[0] < 6 <= 2 * slices[1]
