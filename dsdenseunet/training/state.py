"""All of a run that changes from step to step, and the fixed recipe by which it changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from dsdenseunet.losses.combine import Loss
from dsdenseunet.models.network import Network, abstract_variables
from dsdenseunet.tasks.task import Region


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a step needs and never changes; hashable, so that jit can hold it as a constant."""

    model: Network
    learning_rate: optax.Schedule
    optimizer: optax.GradientTransformation
    loss: Loss
    # Regions whose Dice is reported for each step.
    regions: tuple[Region, ...]
    # Micro-batches whose gradients are averaged before one update.
    accumulate: int = 1
    # Patterns of the names of arrays that no step changes.
    frozen: tuple[str, ...] = ()
    # Whether the schedule goes by `TrainState.position`; `optimizer` then leaves the rate to the step.
    by_time: bool = False


class TrainState(flax.struct.PyTreeNode):
    """All of a run at one moment; a checkpoint of it and of the data iterator is enough to go on."""

    params: Any
    batch_stats: Any
    opt_state: Any
    # Completed steps of this phase, an int32 scalar.
    step: jax.Array
    # The phase's key; a step draws from fold_in(key, step) and never replaces it.
    key: jax.Array
    # False from the first step on whose loss or gradient was not finite: nothing changes any more, so
    # that the state which led there can be looked at although the host learns of it a step later.
    healthy: jax.Array
    recipe: Recipe = flax.struct.field(pytree_node=False)
    # Where the schedule stands, where it does not go by steps; the host sets it before each step.
    position: jax.Array | None = None


def create_state(recipe: Recipe, seed: int) -> TrainState:
    """A new state with weights drawn for `seed`, on JAX's default device."""
    return _new_state(recipe, recipe.model.first_values(seed), jax.random.PRNGKey(seed))


def abstract_state(recipe: Recipe) -> TrainState:
    """The state's shapes and types, without computing anything."""
    shapes = abstract_variables(recipe.model)

    def build() -> TrainState:
        variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return _new_state(recipe, variables, jax.random.PRNGKey(0))

    return jax.eval_shape(build)


def _new_state(recipe: Recipe, variables: Mapping[str, Any], key: jax.Array) -> TrainState:
    params, batch_stats = jax.tree.map(jnp.asarray, (variables["params"], variables.get("batch_stats", {})))
    return TrainState(
        params=params,
        batch_stats=batch_stats,
        opt_state=jax.jit(recipe.optimizer.init)(params),
        step=jnp.zeros((), jnp.int32),
        key=key,
        healthy=jnp.ones((), jnp.bool_),
        recipe=recipe,
        position=jnp.zeros((), jnp.float32) if recipe.by_time else None,
    )


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
