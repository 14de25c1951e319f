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
    # Steps that the schedule has behind it at step 0.
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


def phase_schedule(config: ConfigDict, phase: int) -> Schedule:
    """The schedule of phase 1 or 2; without a restart phase 2 goes on from phase 1's last step.

    A polynomial or cosine ends with its phase, or without a restart with the last one.
    """
    optimizer, epoch = config.optimizer, config.training.steps_per_epoch
    phases = [config.training.phase1_epochs * epoch, config.training.phase2_epochs * epoch]
    continues = phase == 2 and not optimizer.restart_in_phase2
    initial, floor, first_step = optimizer.learning_rate, optimizer.lr_floor, phases[0] if continues else 0
    total = phases[phase - 1] if optimizer.restart_in_phase2 else sum(phases)
    schedules: dict[str, Schedule] = {
        "step": StepDecay(initial, optimizer.decay_factor, optimizer.decay_epochs * epoch, floor, first_step),
        "polynomial": Polynomial(initial, optimizer.decay_power, total, floor, first_step),
        "cosine": Cosine(initial, total, floor, first_step),
    }
    chosen = schedules[optimizer.schedule]
    return WarmUp(chosen, optimizer.warm_up_steps) if optimizer.warm_up_steps else chosen


def _share(step: jax.typing.ArrayLike, first_step: int, total_steps: int) -> jax.Array:
    """How much of the schedule lies behind a step, 0 to 1."""
    return jnp.clip((jnp.asarray(step) + first_step) / total_steps, 0, 1)
