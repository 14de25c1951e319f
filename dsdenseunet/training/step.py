"""One optimiser step: a pure function of state and batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dsdenseunet.training.losses import counted_voxels, weighted_cross_entropy
from dsdenseunet.training.state import Recipe, TrainState

Metrics = dict[str, jax.Array]


def train_step(state: TrainState, batch: Mapping[str, jax.Array]) -> tuple[TrainState, Metrics]:
    """Updates the state with one batch; `parallel.compile_step` jits it with the state donated.

    With `recipe.accumulate` = A > 1 the batch is cut into A micro-batches whose gradients add up to
    exactly the whole batch's mean (every voxel counts 1/N, however the ignored ones are spread);
    batch statistics are each micro-batch's, one after the other.

    Args:
      state: the run so far.
      batch: "image" (B, D, H, W, C) float32 and "labels" (B, D, H, W) int32; other entries are ignored.

    Returns:
      The next state, and float32 scalars: "loss", "dice" (C - 1,: hard Dice of labels >= c for
      c = 1..C-1, which for LiTS is liver with its tumour, and tumour), "grad_norm", "learning_rate";
      "healthy" is the state's flag.
    """
    recipe = state.recipe
    key = jax.random.fold_in(state.key, state.step)
    voxel_count = counted_voxels(batch["labels"], recipe.ignore_label)

    def micro_gradient(batch_stats: Any, image_BDHWC: jax.Array, labels_BDHW: jax.Array, index: Any) -> Any:
        (loss, (batch_stats, overlap)), gradient = jax.value_and_grad(_loss, has_aux=True)(
            state.params,
            batch_stats,
            recipe,
            image_BDHWC,
            labels_BDHW,
            voxel_count,
            jax.random.fold_in(key, index),
        )
        return batch_stats, (gradient, loss, overlap)

    if recipe.accumulate == 1:
        batch_stats, (gradient, loss, overlap) = micro_gradient(
            state.batch_stats, batch["image"], batch["labels"], 0
        )
    else:

        def accumulate(carry: tuple[Any, Any], part: tuple[Any, ...]) -> tuple[tuple[Any, Any], None]:
            batch_stats, sums = carry
            batch_stats, values = micro_gradient(batch_stats, *part)
            return (batch_stats, jax.tree.map(jnp.add, sums, values)), None

        parts = (
            _micro_batches(batch["image"], recipe.accumulate),
            _micro_batches(batch["labels"], recipe.accumulate),
            jnp.arange(recipe.accumulate),
        )
        zeros = (
            jax.tree.map(jnp.zeros_like, state.params),
            jnp.zeros((), jnp.float32),
            jnp.zeros((2, len(recipe.class_weights) - 1), jnp.float32),
        )
        carry, _ = jax.lax.scan(accumulate, (state.batch_stats, zeros), parts)
        batch_stats, (gradient, loss, overlap) = carry

    updates, opt_state = recipe.optimizer.update(gradient, state.opt_state, state.params)
    grad_norm = jnp.sqrt(sum(jnp.sum(jnp.square(part)) for part in jax.tree.leaves(gradient)))
    healthy = state.healthy & jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    candidate = state.replace(
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
        step=state.step + 1,
    )
    unchanged_if_unhealthy = jax.tree.map(lambda new, old: jnp.where(healthy, new, old), candidate, state)
    metrics = {
        "loss": loss,
        "dice": dice(overlap),
        "grad_norm": grad_norm,
        "learning_rate": jnp.asarray(recipe.learning_rate(state.step), jnp.float32),
        "healthy": healthy,
    }
    return unchanged_if_unhealthy.replace(healthy=healthy), metrics


def _loss(
    params: Any,
    batch_stats: Any,
    recipe: Recipe,
    image_BDHWC: jax.Array,
    labels_BDHW: jax.Array,
    voxel_count: jax.Array,
    key: jax.Array,
) -> tuple[jax.Array, tuple[Any, jax.Array]]:
    logits_BDHWC, updates = recipe.model.apply(
        {"params": params, "batch_stats": batch_stats},
        image_BDHWC,
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": key},
    )
    loss = weighted_cross_entropy(
        logits_BDHWC, labels_BDHW, recipe.class_weights, recipe.ignore_label, voxel_count
    )
    overlap = nested_overlap(logits_BDHWC, labels_BDHW, recipe.ignore_label)
    return loss, (updates.get("batch_stats", {}), overlap)


def nested_overlap(logits_BDHWC: jax.Array, labels_BDHW: jax.Array, ignore_label: int) -> jax.Array:
    """(2, C - 1) float32: voxels in both, and summed voxels of prediction and label, for labels >= c."""
    predicted_BDHW = jnp.argmax(logits_BDHWC, axis=-1).astype(labels_BDHW.dtype)
    counted_BDHW = labels_BDHW != ignore_label
    rows = []
    for first_class in range(1, logits_BDHWC.shape[-1]):
        predicted = (predicted_BDHW >= first_class) & counted_BDHW
        labelled = (labels_BDHW >= first_class) & counted_BDHW
        both = jnp.sum(predicted & labelled, dtype=jnp.int32)
        either = jnp.sum(predicted, dtype=jnp.int32) + jnp.sum(labelled, dtype=jnp.int32)
        rows.append(jnp.stack([both, either]).astype(jnp.float32))
    return jnp.stack(rows, axis=1)


def dice(overlap: jax.Array) -> jax.Array:
    """Dice from `nested_overlap`; 1 where neither prediction nor label has a voxel."""
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
