import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsdenseunet.losses.combine import Loss
from dsdenseunet.losses.cross_entropy import CrossEntropy
from dsdenseunet.losses.term import Term
from dsdenseunet.losses.tversky import Tversky
from dsdenseunet.runtime import parallel
from dsdenseunet.tasks.lits import TASK
from dsdenseunet.training import optimizer
from dsdenseunet.training import step as step_module
from dsdenseunet.training.arrays import named
from dsdenseunet.training.schedules import StepDecay
from dsdenseunet.training.state import Recipe, TrainState, create_state
from dsdenseunet.training.step import train_step
from tests.training import tiny

PATCH = (2, 4, 4)
GOLDEN = (1.637557, 0.771591, 0.33823529, 0.10869565)


def recipe(accumulate: int = 1, dropout: bool = True, term: Term | None = None) -> Recipe:
    schedule = StepDecay(0.1, 0.5, 100, 0.0)
    model = tiny.TinyNet() if dropout else tiny.TinyNet(dropout_rate=0.0)
    loss = Loss(((1.0, term or CrossEntropy((0.2, 1.2, 2.2))),), 255)
    sgd = optimizer.build(tiny.get_config().optimizer, schedule)
    return Recipe(model, schedule, sgd, loss, TASK.regions, accumulate)


def new_state(**arguments: int | bool) -> TrainState:
    return create_state(recipe(**arguments), seed=0)


def make_batch(size: int = 4, seed: int = 0) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (size, *PATCH)).astype(np.int32)
    image = (rng.normal(0, 0.3, labels.shape) + labels - 1).astype(np.float32)[..., None]
    return {"image": jnp.asarray(image), "labels": jnp.asarray(labels)}


def test_golden_first_step():
    state, metrics = jax.jit(train_step)(new_state(), make_batch())
    got = [float(metrics["loss"]), float(metrics["grad_norm"]), *map(float, metrics["dice"])]
    # Update these only for a change that is meant to alter training: loss, optimiser, initialisation
    # (also by a new flax or jax), use of keys. Everything else must keep them.
    np.testing.assert_allclose(got, GOLDEN, rtol=2e-5)
    assert int(state.step) == 1


def test_frozen_arrays_stay_and_the_others_change_as_without_them():
    state, batch = new_state(), make_batch()
    frozen = dataclasses.replace(state.recipe, frozen=("params/Conv_0/*", "batch_stats/*/mean"))
    free, metrics = jax.jit(train_step)(state, batch)
    held, held_metrics = jax.jit(train_step)(state.replace(recipe=frozen), batch)
    before, after, expected = (
        named({"params": one.params, "batch_stats": one.batch_stats}) for one in (state, held, free)
    )
    for name, array in after.items():
        if name.startswith("params/Conv_0/") or name.endswith("/mean"):
            np.testing.assert_array_equal(array, before[name])
        else:
            np.testing.assert_allclose(array, expected[name], rtol=1e-6, atol=1e-7)
            assert not np.array_equal(array, before[name]), name
    # A gradient that is not taken is in no norm.
    assert float(held_metrics["grad_norm"]) < float(metrics["grad_norm"])


def test_loss_falls():
    step, state = jax.jit(train_step), new_state()
    losses = []
    for _ in range(30):
        state, metrics = step(state, make_batch())
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.6 * losses[0]


def test_same_state_and_batch_give_the_same_bits():
    step = jax.jit(train_step)
    first, second = (step(new_state(), make_batch()) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_key_is_folded_with_the_step():
    step, state = jax.jit(train_step), new_state()
    later = state.replace(step=state.step + 1)
    assert float(step(state, make_batch())[1]["loss"]) != float(step(later, make_batch())[1]["loss"])
    np.testing.assert_array_equal(step(state, make_batch())[0].key, state.key)


def test_accumulated_gradient_is_the_mean_over_all_counted_voxels():
    batch = make_batch()
    # Unequal numbers of ignored voxels in the micro-batches.
    batch["labels"] = batch["labels"].at[1].set(255).at[2, 0].set(255)
    whole, parts = (
        jax.jit(train_step)(frozen_statistics(new_state(accumulate=count, dropout=False)), batch)
        for count in (1, 4)
    )
    for name in ("loss", "grad_norm", "dice"):
        np.testing.assert_allclose(parts[1][name], whole[1][name], rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), parts[0].params, whole[0].params
    )


@pytest.mark.parametrize("term", [Tversky(), Tversky(over="sample"), Tversky(0.3, 0.7)])
def test_an_overlap_is_that_of_the_whole_batch_however_it_is_cut(term):
    batch = make_batch()
    batch["labels"] = batch["labels"].at[1].set(255).at[2, 0].set(255)
    whole, parts = (
        jax.jit(train_step)(
            frozen_statistics(create_state(recipe(accumulate=count, dropout=False, term=term), seed=0)), batch
        )
        for count in (1, 2)
    )
    for name in ("loss", "grad_norm", "dice"):
        np.testing.assert_allclose(parts[1][name], whole[1][name], rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), parts[0].params, whole[0].params
    )


def test_coarser_outputs_count_as_if_the_batch_were_whole():
    """Cross-entropy and Dice, of which the second needs the sums of all micro-batches."""
    batch = make_batch()
    batch["labels"] = batch["labels"].at[1].set(255).at[2, 0].set(255)
    model = tiny.TinyNet(dropout_rate=0.0, frozen_statistics=True, auxiliary_outputs=2)
    loss = Loss(((1.0, CrossEntropy((0.2, 1.2, 2.2))), (1.0, Tversky())), 255, (0.5, 0.25))
    whole, parts = (
        jax.jit(train_step)(
            create_state(dataclasses.replace(recipe(accumulate=count), model=model, loss=loss), seed=0), batch
        )
        for count in (1, 2)
    )
    np.testing.assert_allclose(parts[1]["loss"], whole[1]["loss"], rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), parts[0].params, whole[0].params
    )
    # Every head has learned, so every output has played its part.
    before = create_state(whole[0].recipe, seed=0).params
    heads = [
        name for name, kernel in before.items() if "kernel" in kernel and kernel["kernel"].shape[-1] == 3
    ]
    assert len(heads) == 3
    assert all(np.any(whole[0].params[name]["kernel"] != before[name]["kernel"]) for name in heads)


def frozen_statistics(state: TrainState) -> TrainState:
    """The same state with a network that normalises by its running statistics."""
    model = tiny.TinyNet(dropout_rate=0.0, frozen_statistics=True)
    return state.replace(recipe=dataclasses.replace(state.recipe, model=model))


def test_batch_that_cannot_be_cut_is_refused():
    with pytest.raises(ValueError, match="4 cannot be cut into 3"):
        train_step(new_state(accumulate=3), make_batch())


def test_unhealthy_step_changes_nothing_and_stays_unhealthy():
    step, state = jax.jit(train_step), new_state()
    bad = make_batch()
    bad["image"] = bad["image"].at[0, 0, 0, 0].set(jnp.nan)
    after, metrics = step(state, bad)
    assert not bool(metrics["healthy"])
    jax.tree.map(np.testing.assert_array_equal, after.replace(healthy=state.healthy), state)
    again, metrics = step(after, make_batch())
    assert not bool(metrics["healthy"])
    jax.tree.map(np.testing.assert_array_equal, again, after)


def test_batch_dice_by_hand():
    labels = jnp.asarray([0, 1, 1, 2, 2, 255]).reshape(1, 1, 1, 6)
    predicted = jnp.asarray([0, 1, 2, 2, 0, 2]).reshape(1, 1, 1, 6)
    overlap = step_module.region_overlap(jax.nn.one_hot(predicted, 3), labels, 255, TASK.regions)
    # Labels >= 1: both 3, sizes 3 and 4. Labels >= 2: both 1, sizes 2 and 2.
    np.testing.assert_array_equal(overlap, [[3, 1], [7, 4]])
    np.testing.assert_allclose(step_module.dice(overlap), [6 / 7, 0.5])


def test_dice_of_nothing_is_one():
    np.testing.assert_array_equal(step_module.dice(jnp.asarray([[0.0, 0.0], [0.0, 3.0]])), [1, 0])


def test_compiled_step_reuses_the_state_s_memory():
    mesh = parallel.data_mesh()
    state = parallel.place_state(mesh, new_state())
    parallel.compile_step(train_step, mesh)(state, parallel.place_batch(mesh, make_batch()))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
