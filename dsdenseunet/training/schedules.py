"""Learning rates over the steps of a phase: the paper's halving, polynomial, cosine, each with a warm-up.

Equal schedules are equal objects, so that phases with the same one share their compiled step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

NAMES = ("step", "polynomial", "cosine")
Schedule = Callable[[jax.typing.ArrayLike], jax.Array]


@dataclasses.dataclass(frozen=True)
class StepDecay:
    """Learning rate of a step: times `factor` every `interval_steps`, until that would go below `floor`.

    That is max(initial * factor ** ((first_step + step) // interval_steps), floor), and never more than
    `initial`: a rate that is at or below the floor from the start stays as it is.
    """

    initial: float
    # In (0, 1].
    factor: float
    interval_steps: int
    floor: float
    # Steps of the schedule that are done before step 0.
    first_step: int = 0

    def __call__(self, step: jax.typing.ArrayLike) -> jax.Array:
        """The rate, a float32 scalar."""
        # Not optax.exponential_decay: it takes a factor of 1 for no schedule at all, and raises a rate that
        # starts below its end value to that.
        decays = (jnp.asarray(step) + self.first_step) // self.interval_steps
        decayed = self.initial * jnp.power(jnp.float32(self.factor), decays.astype(jnp.float32))
        return jnp.maximum(decayed, min(self.floor, self.initial)).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class Polynomial:
    """Learning rate of a step: initial * (1 - (first_step + step) / total_steps) ** power, as nnU-Net's.

    It never falls below `floor`, unless it starts there.
    """

    initial: float
    power: float
    total_steps: int
    floor: float
    first_step: int = 0

    def __call__(self, step: jax.typing.ArrayLike) -> jax.Array:
        """The rate, a float32 scalar."""
        left = 1 - _share(step, self.first_step, self.total_steps)
        return jnp.maximum(self.initial * left**self.power, min(self.floor, self.initial)).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class Cosine:
    """Learning rate of a step: from `initial` to `floor` along half a cosine (Loshchilov and Hutter 2017)."""

    initial: float
    total_steps: int
    floor: float
    first_step: int = 0

    def __call__(self, step: jax.typing.ArrayLike) -> jax.Array:
        """The rate, a float32 scalar."""
        lowest = min(self.floor, self.initial)
        wave = (1 + jnp.cos(jnp.pi * _share(step, self.first_step, self.total_steps))) / 2
        return (lowest + (self.initial - lowest) * wave).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class WarmUp:
    """Another schedule, times a share that rises evenly to 1: step 0 has 1 / (steps + 1) of its rate."""

    schedule: Schedule
    steps: int

    def __call__(self, step: jax.typing.ArrayLike) -> jax.Array:
        """The rate, a float32 scalar."""
        share = jnp.minimum((jnp.asarray(step) + 1) / (self.steps + 1), 1)
        return (self.schedule(step) * share).astype(jnp.float32)


# Where the rate is multiplied by elsewhere.
ONE = StepDecay(1.0, 1.0, 1, 1.0)


def phase_schedule(config: ConfigDict, name: str) -> Schedule:
    """The schedule of a phase.

    It starts again with the phase, or continues where the phases before have left it (`continue_schedule`). A
    polynomial or cosine ends with its phase, or with the last one that continues it.
    """
    phase, order = config.phases[name], list(config.phases.order)
    first = last = order.index(name)
    while config.phases[order[first]].continue_schedule:
        first -= 1
    while last + 1 < len(order) and config.phases[order[last + 1]].continue_schedule:
        last += 1

    epoch = config.training.steps_per_epoch

    def steps(names: list[str]) -> int:
        return epoch * sum(config.phases[one].epochs for one in names)

    before, total = steps(order[first : order.index(name)]), steps(order[first : last + 1])
    optimizer = config.optimizer
    initial, floor = phase.learning_rate or optimizer.learning_rate, optimizer.lr_floor
    schedules: dict[str, Schedule] = {
        "step": StepDecay(initial, optimizer.decay_factor, optimizer.decay_epochs * epoch, floor, before),
        "polynomial": Polynomial(initial, optimizer.decay_power, total, floor, before),
        "cosine": Cosine(initial, total, floor, before),
    }
    chosen = schedules[phase.schedule or optimizer.schedule]
    warm_up_steps = optimizer.warm_up_steps if phase.warm_up_steps < 0 else phase.warm_up_steps
    return WarmUp(chosen, warm_up_steps) if warm_up_steps else chosen


def _share(step: jax.typing.ArrayLike, first_step: int, total_steps: int) -> jax.Array:
    """How much of the schedule lies behind a step, 0 to 1."""
    return jnp.clip((jnp.asarray(step) + first_step) / total_steps, 0, 1)
