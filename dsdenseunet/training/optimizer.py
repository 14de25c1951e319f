"""Stochastic gradient descent with momentum and the paper's halving schedule (section 4.3)."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict


@dataclasses.dataclass(frozen=True)
class StepDecay:
    """Learning rate of a step: times `factor` every `interval_steps`, until that would go below `floor`.

    That is max(initial * factor ** ((first_step + step) // interval_steps), floor), and never more than
    `initial`: a rate that is at or below the floor from the start stays as it is.

    Equal schedules are equal objects, so that phases with the same one share their compiled step.
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


def phase_schedule(config: ConfigDict, phase: int) -> StepDecay:
    """The schedule of phase 1 or 2; without a restart phase 2 goes on from phase 1's last step."""
    steps_per_epoch = config.training.steps_per_epoch
    continues = phase == 2 and not config.optimizer.restart_in_phase2
    return StepDecay(
        initial=config.optimizer.learning_rate,
        factor=config.optimizer.decay_factor,
        interval_steps=config.optimizer.decay_epochs * steps_per_epoch,
        floor=config.optimizer.lr_floor,
        first_step=config.training.phase1_epochs * steps_per_epoch if continues else 0,
    )


@functools.cache
def sgd(schedule: StepDecay, momentum: float) -> optax.GradientTransformation:
    """Plain momentum: trace = gradient + momentum * trace; parameters -= rate(step) * trace."""
    return optax.sgd(schedule, momentum=momentum)
