"""One optimiser step: a pure function of state and batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dsdenseunet.tasks.task import Region
from dsdenseunet.training.arrays import replaced
from dsdenseunet.training.state import TrainState

Metrics = dict[str, jax.Array]


def train_step(state: TrainState, batch: Mapping[str, jax.Array]) -> tuple[TrainState, Metrics]:
    """Updates the state with one batch; `parallel.compile_step` jits it with the state donated.

    With `recipe.accumulate` = A > 1 the batch is cut into A micro-batches whose gradients add up to exactly
    that of the whole batch's loss, however the voxels that do not count are spread; batch statistics are each
    micro-batch's, one after the other. A loss that is not linear in its sums (Dice over the batch) needs the
    sums of all micro-batches before the gradient of any: the network then runs forward once more.

    Arrays of `recipe.frozen` stay as they are and count in no gradient norm. Where running statistics are
    among them, the network still normalises by those of the batch while it trains.

    Args:
      state: the run so far.
      batch: "image" (B, D, H, W, C) float32 and "labels" (B, D, H, W) int32; other entries are ignored.

    Returns:
      The next state, and float32 scalars: "loss", "dice" (regions,; hard Dice of each of
      `recipe.regions`), "grad_norm", "learning_rate"; "healthy" is the state's flag.
    """
    recipe = state.recipe
    key = jax.random.fold_in(state.key, state.step)
    if recipe.accumulate == 1:
        batch_stats, (gradient, loss, overlap) = _gradient(
            state, state.batch_stats, batch["image"], batch["labels"], jax.random.fold_in(key, 0)
        )
    else:
        batch_stats, (gradient, loss, overlap) = _accumulated(state, batch, key)

    updates, opt_state = recipe.optimizer.update(gradient, state.opt_state, state.params)
    rate = jnp.asarray(recipe.learning_rate(state.position if recipe.by_time else state.step), jnp.float32)
    if recipe.by_time:
        updates = jax.tree.map(lambda update: rate * update, updates)
    grad_norm = jnp.sqrt(sum(jnp.sum(jnp.square(part)) for part in jax.tree.leaves(gradient)))
    healthy = state.healthy & jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    params = optax.apply_updates(state.params, updates)
    candidate = state.replace(
        params=replaced(params, state.params, "params", recipe.frozen),
        batch_stats=replaced(batch_stats, state.batch_stats, "batch_stats", recipe.frozen),
        opt_state=opt_state,
        step=state.step + 1,
    )
    unchanged_if_unhealthy = jax.tree.map(lambda new, old: jnp.where(healthy, new, old), candidate, state)
    metrics = {
        "loss": loss,
        "dice": dice(overlap),
        "grad_norm": grad_norm,
        "learning_rate": rate,
        "healthy": healthy,
    }
    return unchanged_if_unhealthy.replace(healthy=healthy), metrics


def _accumulated(state: TrainState, batch: Mapping[str, jax.Array], key: jax.Array) -> Any:
    """As `_gradient`, of a batch in micro-batches."""
    recipe, loss = state.recipe, state.recipe.loss
    images, labels = (_micro_batches(batch[name], recipe.accumulate) for name in ("image", "labels"))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(recipe.accumulate))

    def forward(image_BDHWC: jax.Array, key: jax.Array) -> list[jax.Array]:
        return _apply(state, state.params, state.batch_stats, image_BDHWC, key)[0]

    outputs = jax.eval_shape(forward, images[0], keys[0])
    counts = loss.counts(batch["labels"], outputs)
    whole = None
    if not loss.is_linear:

        def add_sums(sums: Any, part: tuple[jax.Array, ...]) -> tuple[Any, None]:
            image_BDHWC, labels_BDHW, key = part
            own = loss.sums(forward(image_BDHWC, key), labels_BDHW)
            return jax.tree.map(jnp.add, sums, own), None

        shapes = jax.eval_shape(loss.sums, outputs, labels[0])
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        whole, _ = jax.lax.scan(add_sums, zeros, (images, labels, keys))

    def accumulate(carry: tuple[Any, Any], part: tuple[jax.Array, ...]) -> tuple[tuple[Any, Any], None]:
        batch_stats, sums = carry
        image_BDHWC, labels_BDHW, key = part
        batch_stats, values = _gradient(state, batch_stats, image_BDHWC, labels_BDHW, key, counts, whole)
        return (batch_stats, jax.tree.map(jnp.add, sums, values)), None

    zeros = (
        jax.tree.map(jnp.zeros_like, state.params),
        jnp.zeros((), jnp.float32),
        jnp.zeros((2, len(recipe.regions)), jnp.float32),
    )
    (batch_stats, (gradient, value, overlap)), _ = jax.lax.scan(
        accumulate, (state.batch_stats, zeros), (images, labels, keys)
    )
    return batch_stats, (gradient, value if whole is None else loss.value(counts, whole), overlap)


def _gradient(
    state: TrainState,
    batch_stats: Any,
    image_BDHWC: jax.Array,
    labels_BDHW: jax.Array,
    key: jax.Array,
    counts: Any = None,
    whole: Any = None,
) -> tuple[Any, tuple[Any, jax.Array, jax.Array]]:
    """New running statistics; gradient, loss and `region_overlap` of a batch, or of its part.

    Args:
        state: holds parameters and recipe.
        batch_stats: running statistics so far.
        image_BDHWC: of the part.
        labels_BDHW: of the part.
        key: of what the network draws.
        counts: `Loss.counts` of the whole batch (None: this is all of it).
        whole: `Loss.sums` of the whole batch, where the loss is not linear in them.
    """
    loss = state.recipe.loss

    def value(params: Any) -> tuple[jax.Array, tuple[Any, jax.Array]]:
        # Frozen arrays have no gradient, and none is computed.
        params = replaced(params, state.params, "params", state.recipe.frozen)
        outputs, batch_stats_ = _apply(state, params, batch_stats, image_BDHWC, key)
        sums = loss.sums(outputs, labels_BDHW)
        if whole is not None:
            # The value for the whole batch, and the contribution of this part to its gradient.
            own = jax.tree.map(lambda part: part - jax.lax.stop_gradient(part), sums)
            sums = jax.tree.map(jnp.add, whole, own)
        known = loss.counts(labels_BDHW, outputs) if counts is None else counts
        overlap = region_overlap(outputs[0], labels_BDHW, loss.ignore_label, state.recipe.regions)
        return loss.value(known, sums), (batch_stats_, overlap)

    (loss_value, (batch_stats, overlap)), gradient = jax.value_and_grad(value, has_aux=True)(state.params)
    return batch_stats, (gradient, loss_value, overlap)


def _apply(
    state: TrainState, params: Any, batch_stats: Any, image_BDHWC: jax.Array, key: jax.Array
) -> tuple[list[jax.Array], Any]:
    """Logits, finest first, and the running statistics after this batch."""
    outputs, updates = state.recipe.model.apply(
        {"params": params, "batch_stats": batch_stats},
        image_BDHWC,
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": key},
    )
    return [outputs.logits, *outputs.auxiliary], updates.get("batch_stats", {})


def region_overlap(
    logits_BDHWC: jax.Array, labels_BDHW: jax.Array, ignore_label: int, regions: Sequence[Region]
) -> jax.Array:
    """(2, regions) float32: voxels in both, and summed voxels of prediction and label, of each region."""
    predicted_BDHW = jnp.argmax(logits_BDHWC, axis=-1).astype(labels_BDHW.dtype)
    counted_BDHW = labels_BDHW != ignore_label
    rows = []
    for region in regions:
        predicted, labelled = (region.mask(array) & counted_BDHW for array in (predicted_BDHW, labels_BDHW))
        both = jnp.sum(predicted & labelled, dtype=jnp.int32)
        either = jnp.sum(predicted, dtype=jnp.int32) + jnp.sum(labelled, dtype=jnp.int32)
        rows.append(jnp.stack([both, either]).astype(jnp.float32))
    return jnp.stack(rows, axis=1)


def dice(overlap: jax.Array) -> jax.Array:
    """Dice from `region_overlap`; 1 where neither prediction nor label has a voxel."""
    both, either = overlap
    return jnp.where(either > 0, 2 * both / jnp.maximum(either, 1), 1.0)


def _micro_batches(array_B: jax.Array, count: int) -> jax.Array:
    """(B, ...) -> (count, B / count, ...), micro-batch i holding elements i, i + count, ...

    Strided, so that a batch that is sharded over devices stays evenly sharded in every micro-batch.
    """
    batch_size = array_B.shape[0]
    if batch_size % count:
        raise ValueError(f"a batch of {batch_size} cannot be cut into {count} micro-batches")
    return jnp.moveaxis(array_B.reshape(batch_size // count, count, *array_B.shape[1:]), 1, 0)
