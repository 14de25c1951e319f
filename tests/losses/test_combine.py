import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from dsdenseunet.losses.combine import Loss, coarser
from dsdenseunet.losses.cross_entropy import CrossEntropy
from dsdenseunet.losses.focal import Focal
from dsdenseunet.losses.tversky import Tversky

IGNORE = 255
WEIGHTS = (0.2, 1.2, 2.2)
TERMS = {
    "cross_entropy": CrossEntropy(WEIGHTS),
    "focal": Focal(WEIGHTS, 2.0),
    "focal_3": Focal((1.0, 1.0, 1.0), 3.0),
    "dice": Tversky(),
    "dice_sample": Tversky(over="sample"),
    "tversky": Tversky(0.3, 0.7),
    "tversky_sample": Tversky(0.3, 0.7, over="sample"),
}


def loss_of(*names, ignore=IGNORE, deep=()):
    return Loss(tuple((1.0 + number, TERMS[name]) for number, name in enumerate(names)), ignore, deep)


def example(seed, batch=2, size=(2, 4, 4)):
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (batch, *size, 3)).astype(np.float32)
    labels = generator.choice([0, 1, 2, IGNORE], (batch, *size), p=[0.5, 0.2, 0.2, 0.1]).astype(np.int32)
    return jnp.asarray(logits), jnp.asarray(labels)


def test_dice_of_three_voxels_by_hand():
    # Probabilities of class 1: 0.5, 0.8, 0.1; labels 1, 1, 0. TP 1.3, predicted 1.4, labelled 2.
    probabilities = jnp.asarray([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]])
    logits, labels = jnp.log(probabilities)[None, None, None], jnp.asarray([1, 1, 0])[None, None, None]
    value = Loss(((1.0, Tversky()),), IGNORE)((logits,), labels)
    assert float(value) == pytest.approx(1 - (1.3 + 0.5) / (0.5 * (1.4 + 2) + 0.5), rel=1e-6)


def test_tversky_by_hand():
    # The same: FP 0.1, FN 0.7.
    probabilities = jnp.asarray([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]])
    logits, labels = jnp.log(probabilities)[None, None, None], jnp.asarray([1, 1, 0])[None, None, None]
    value = Loss(((1.0, Tversky(0.3, 0.7, smooth=0.0)),), IGNORE)((logits,), labels)
    assert float(value) == pytest.approx(1 - 1.3 / (1.3 + 0.3 * 0.1 + 0.7 * 0.7), rel=1e-6)


def test_dice_over_the_batch_is_not_the_mean_over_samples():
    probabilities = jnp.asarray([[[0.5, 0.5]], [[0.2, 0.8]]])
    logits, labels = jnp.log(probabilities)[:, None, None], jnp.asarray([[1], [0]])[:, None, None]
    batch = Loss(((1.0, Tversky(smooth=0.0)),), IGNORE)((logits,), labels)
    sample = Loss(((1.0, Tversky(smooth=0.0, over="sample")),), IGNORE)((logits,), labels)
    assert float(batch) == pytest.approx(1 - 2 * 0.5 / (1.3 + 1), rel=1e-6)
    assert float(sample) == pytest.approx(((1 - 2 * 0.5 / 1.5) + 1) / 2, rel=1e-6)


def test_focal_by_hand():
    probabilities = jnp.asarray([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    logits, labels = jnp.log(probabilities)[None, None, None], jnp.asarray([0, 2])[None, None, None]
    value = Loss(((1.0, Focal(WEIGHTS, 2.0)),), IGNORE)((logits,), labels)
    expected = -(0.2 * 0.5**2 * np.log(0.5) + 2.2 * 0.2**2 * np.log(0.8)) / 2
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_focal_without_focus_is_cross_entropy():
    logits, labels = example(0)
    focal = Loss(((1.0, Focal(WEIGHTS, 0.0)),), IGNORE)((logits,), labels)
    assert float(focal) == pytest.approx(float(loss_of("cross_entropy")((logits,), labels)), rel=1e-5)


def test_focal_has_a_finite_gradient_where_all_is_right():
    logits = jnp.asarray([[200.0, 0.0, 0.0]])[None, None, None]
    gradient = jax.grad(
        lambda z: Loss(((1.0, Focal(WEIGHTS, 0.5)),), IGNORE)((z,), jnp.zeros((1, 1, 1, 1), int))
    )(logits)
    assert bool(jnp.isfinite(gradient).all())


@pytest.mark.parametrize("name", TERMS)
def test_gradients_are_those_of_finite_differences(name):
    logits, labels = example(1, size=(1, 2, 3))
    check_grads(
        lambda z: loss_of(name)((z,), labels),
        (logits,),
        order=1,
        modes=("rev",),
        atol=2e-2,
        rtol=2e-2,
        eps=1e-2,
    )


@pytest.mark.parametrize("name", TERMS)
def test_ignored_voxels_change_nothing(name):
    logits, labels = example(2)
    other = jnp.where((labels == IGNORE)[..., None], 7.0 * logits[..., ::-1], logits)
    value, gradient = jax.value_and_grad(lambda z: loss_of(name)((z,), labels))(logits)
    assert float(value) == pytest.approx(float(loss_of(name)((other,), labels)), rel=1e-6)
    np.testing.assert_array_equal(gradient[labels == IGNORE], 0)


@pytest.mark.parametrize("name", TERMS)
def test_a_batch_in_which_nothing_counts_is_finite(name):
    logits, labels = example(3)
    value, gradient = jax.value_and_grad(lambda z: loss_of(name)((z,), jnp.full_like(labels, IGNORE)))(logits)
    assert bool(jnp.isfinite(value))
    assert bool(jnp.isfinite(gradient).all())


@pytest.mark.parametrize("name", TERMS)
def test_the_backward_pass_keeps_only_its_inputs(name):
    logits, labels = example(4)
    _, backward = jax.vjp(lambda z: TERMS[name].sums(z, labels, IGNORE), logits)
    kept = {leaf.shape for leaf in jax.tree.leaves(backward) if leaf.size > 16}
    assert kept <= {logits.shape, labels.shape}


@given(
    names=st.lists(st.sampled_from(sorted(TERMS)), min_size=1, max_size=3, unique=True),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_parts_give_the_whole(names, seed):
    """Sums and counts of two parts add up; where the loss is linear, so do the parts' values."""
    logits, labels = example(seed, batch=4)
    loss = loss_of(*names)
    whole = loss((logits,), labels)
    parts = [(logits[half], labels[half]) for half in (slice(0, 2), slice(2, 4))]
    counts = jax.tree.map(jnp.add, *(loss.counts(y, (z,)) for z, y in parts))
    sums = [loss.sums((z,), y) for z, y in parts]
    np.testing.assert_allclose(loss.value(counts, jax.tree.map(jnp.add, *sums)), whole, rtol=1e-5)
    if loss.is_linear:
        values = [loss.value(counts, own) for own in sums]
        np.testing.assert_allclose(sum(values), whole, rtol=1e-5)


def test_labels_of_a_coarser_grid_are_those_nearest_to_its_centres():
    labels = jnp.arange(8).reshape(1, 1, 2, 4)
    np.testing.assert_array_equal(coarser(labels, (1, 1, 2)), [[[[5, 7]]]])
    np.testing.assert_array_equal(coarser(labels, (1, 2, 4)), labels)


def test_coarser_outputs_weigh_less():
    logits, labels = example(5)
    coarse = logits[:, :, ::2, ::2]
    loss = loss_of("cross_entropy", deep=(0.5,))
    alone = loss_of("cross_entropy")
    fine_alone, coarse_alone = alone((logits,), labels), alone((coarse,), coarser(labels, (2, 2, 2)))
    both = loss((logits, coarse), labels)
    assert float(both) == pytest.approx(float(2 * fine_alone + coarse_alone) / 3, rel=1e-5)


def test_losses_are_values():
    """Equal losses are equal objects, so that phases with the same one share their compiled step."""
    assert loss_of("dice", "focal") == loss_of("dice", "focal")
    assert hash(loss_of("dice", "focal")) == hash(loss_of("dice", "focal"))
