"""All of a run that changes from step to step, and the fixed recipe by which it changes."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a step needs and never changes; hashable, so that jit can hold it as a constant."""

    model: nn.Module
    learning_rate: optax.Schedule
    optimizer: optax.GradientTransformation
    class_weights: tuple[float, ...]
    ignore_label: int
    # Micro-batches whose gradients are averaged before one update.
    accumulate: int = 1


class TrainState(flax.struct.PyTreeNode):
    """All of a run at one moment; a checkpoint of it and of the data iterator is enough to go on."""

    params: Any
    batch_stats: Any
    opt_state: Any
    # Completed steps of this phase, an int32 scalar.
    step: jax.Array
    # The run's key; a step draws from fold_in(key, step) and never replaces it.
    key: jax.Array
    # False from the first step on whose loss or gradient was not finite: nothing changes any more, so
    # that the state which led there can be looked at although the host learns of it a step later.
    healthy: jax.Array
    recipe: Recipe = flax.struct.field(pytree_node=False)


def create_state(recipe: Recipe, patch_size: tuple[int, ...], in_channels: int, seed: int) -> TrainState:
    """Initial state for patches of `patch_size` (D, H, W) voxels; pure, so `jax.eval_shape` works on it."""
    init_key, run_key = jax.random.split(jax.random.PRNGKey(seed))
    image_BDHWC = jnp.zeros((1, *patch_size, in_channels), jnp.float32)
    variables = recipe.model.init(init_key, image_BDHWC, train=False)
    return TrainState(
        params=variables["params"],
        batch_stats=variables.get("batch_stats", {}),
        opt_state=recipe.optimizer.init(variables["params"]),
        step=jnp.zeros((), jnp.int32),
        key=run_key,
        healthy=jnp.ones((), jnp.bool_),
        recipe=recipe,
    )


def abstract_state(recipe: Recipe, patch_size: tuple[int, ...], in_channels: int) -> TrainState:
    """The state's shapes and types, without computing anything."""
    return jax.eval_shape(lambda: create_state(recipe, patch_size, in_channels, seed=0))


def state_arrays(state: TrainState) -> dict[str, Any]:
    """The state as nested plain dicts and lists of arrays, the form in which it is checkpointed."""
    fields = ("params", "batch_stats", "opt_state", "step", "key", "healthy")
    return {name: getattr(state, name) for name in fields}


def variables_of(state: TrainState) -> dict[str, Any]:
    """The network's variables, as `model.apply` takes them."""
    return {"params": state.params, "batch_stats": state.batch_stats}


def parameter_count(params: Any) -> int:
    """Number of trainable values."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
