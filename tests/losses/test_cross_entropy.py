import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dsdenseunet.losses.combine import Loss
from dsdenseunet.losses.cross_entropy import CrossEntropy

WEIGHTS = (0.2, 1.2, 2.2)
IGNORE = 255


def weighted_cross_entropy(logits, labels, weights, ignore_label):
    return Loss(((1.0, CrossEntropy(weights)),), ignore_label)((logits,), labels)


def labels_of(*values: int) -> jax.Array:
    return jnp.asarray(values, jnp.int32).reshape(1, 1, 1, -1)


def logits_of(*rows: tuple[float, ...]) -> jax.Array:
    return jnp.asarray(rows, jnp.float32).reshape(1, 1, 1, len(rows), -1)


def test_two_voxels_by_hand():
    # Equal logits: probability 1/3 each. Logits (0, log 2, 0): probability 2/4 for class 1.
    logits = logits_of((5.0, 5.0, 5.0), (0.0, math.log(2), 0.0))
    loss = weighted_cross_entropy(logits, labels_of(2, 1), WEIGHTS, IGNORE)
    assert float(loss) == pytest.approx((2.2 * math.log(3) + 1.2 * math.log(2)) / 2, rel=1e-6)


def test_mean_is_over_voxels_not_over_weights():
    logits = logits_of(*[(0.0, 0.0, 0.0)] * 4)
    loss = weighted_cross_entropy(logits, labels_of(0, 0, 0, 0), WEIGHTS, IGNORE)
    assert float(loss) == pytest.approx(0.2 * math.log(3), rel=1e-6)


def test_ignored_voxels_count_in_neither_sum_nor_mean():
    logits = logits_of((0.0, 0.0, 0.0), (9.0, -9.0, 4.0), (1.0, 2.0, 3.0))
    counted = weighted_cross_entropy(logits[..., :1, :], labels_of(1), WEIGHTS, IGNORE)
    loss, gradient = jax.value_and_grad(weighted_cross_entropy)(
        logits, labels_of(1, IGNORE, IGNORE), WEIGHTS, IGNORE
    )
    assert float(loss) == pytest.approx(float(counted), rel=1e-6)
    np.testing.assert_array_equal(gradient[0, 0, 0, 1:], 0)


def test_everything_ignored_is_zero_with_a_finite_gradient():
    loss, gradient = jax.value_and_grad(weighted_cross_entropy)(
        logits_of((1.0, 2.0, 3.0)), labels_of(IGNORE), WEIGHTS, IGNORE
    )
    assert float(loss) == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("lowest", [-math.inf, -3e38])
def test_a_class_that_is_impossible_for_certain_adds_nothing_to_the_others_loss(lowest: float):
    """The logarithm of its probability is -inf, also where only the difference of two logits overflows."""
    logits = logits_of((3e38, lowest, lowest), (2.0, 2.0, lowest))
    loss, gradient = jax.value_and_grad(weighted_cross_entropy)(logits, labels_of(0, 1), WEIGHTS, IGNORE)
    assert float(loss) == pytest.approx(1.2 * math.log(2) / 2, rel=1e-6)
    np.testing.assert_allclose(gradient[0, 0, 0], [[0, 0, 0], [0.3, -0.3, 0]], atol=1e-6)


def test_a_voxel_whose_own_class_is_impossible_has_no_finite_loss():
    loss = weighted_cross_entropy(logits_of((0.0, 1.0, -math.inf)), labels_of(2), WEIGHTS, IGNORE)
    assert float(loss) == math.inf


def test_gradient_by_hand():
    # d loss / d logit_c = w_y (p_c - [c = y]) / N with p = (1/4, 1/2, 1/4), y = 1, N = 1.
    gradient = jax.grad(weighted_cross_entropy)(
        logits_of((0.0, math.log(2), 0.0)), labels_of(1), WEIGHTS, IGNORE
    )
    np.testing.assert_allclose(gradient[0, 0, 0, 0], [0.3, -0.6, 0.3], rtol=1e-6)


def test_equals_optax_value_and_gradient():
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(0, 5, (2, 3, 4, 5, 3)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 3, (2, 3, 4, 5)), jnp.int32)

    def by_optax(logits: jax.Array) -> jax.Array:
        voxel = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return jnp.mean(voxel * jnp.asarray(WEIGHTS)[labels])

    got = jax.value_and_grad(weighted_cross_entropy)(logits, labels, WEIGHTS, IGNORE)
    expected = jax.value_and_grad(by_optax)(logits)
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(got[1], expected[1], rtol=1e-5, atol=1e-8)


def test_extreme_logits_stay_finite():
    loss, gradient = jax.value_and_grad(weighted_cross_entropy)(
        logits_of((1e4, -1e4, 0.0)), labels_of(1), WEIGHTS, IGNORE
    )
    assert float(loss) == pytest.approx(1.2 * 2e4)
    assert bool(jnp.isfinite(gradient).all())


def test_bfloat16_logits_give_a_float32_loss():
    logits = logits_of((0.0, 1.0, 2.0)).astype(jnp.bfloat16)
    loss, gradient = jax.value_and_grad(weighted_cross_entropy)(logits, labels_of(0), WEIGHTS, IGNORE)
    assert loss.dtype == jnp.float32
    assert gradient.dtype == jnp.bfloat16


def test_wrong_number_of_weights_is_refused():
    with pytest.raises(ValueError, match="2 class weights for 3 classes"):
        weighted_cross_entropy(logits_of((0.0, 0.0, 0.0)), labels_of(0), (1.0, 1.0), IGNORE)


def test_backward_pass_keeps_only_its_inputs():
    logits = jnp.zeros((1, 2, 4, 4, 3), jnp.bfloat16)
    labels = jnp.zeros((1, 2, 4, 4), jnp.int32)
    _, backward = jax.vjp(lambda z: weighted_cross_entropy(z, labels, WEIGHTS, IGNORE), logits)
    kept = {(leaf.shape, leaf.dtype.name) for leaf in jax.tree.leaves(backward) if leaf.size > 1}
    assert kept == {(logits.shape, "bfloat16"), (labels.shape, "int32")}
