"""Stochastic gradient descent with momentum and the paper's halving schedule (section 4.3)."""

from __future__ import annotations

from typing import Any

import optax
from ml_collections import ConfigDict


def learning_rate_schedule(
    optimizer_config: ConfigDict, steps_per_epoch: int, first_step: int = 0
) -> optax.Schedule:
    """Learning rate of a step: times `decay_factor` every `decay_epochs` epochs, at least `lr_floor`.

    Args:
      optimizer_config: `config.optimizer`.
      steps_per_epoch: optimiser steps an epoch.
      first_step: how many steps the schedule has behind it at step 0; phase 2 without a restart
        goes on from phase 1's last step.
    """
    decay = optax.exponential_decay(
        init_value=optimizer_config.learning_rate,
        transition_steps=optimizer_config.decay_epochs * steps_per_epoch,
        decay_rate=optimizer_config.decay_factor,
        staircase=True,
        end_value=optimizer_config.lr_floor,
    )
    return lambda step: decay(step + first_step)


def phase_schedule(config: Any, phase: int) -> optax.Schedule:
    """The schedule of phase 1 or 2 of the cascade."""
    continues = phase == 2 and not config.optimizer.restart_in_phase2
    first_step = config.training.phase1_epochs * config.training.steps_per_epoch if continues else 0
    return learning_rate_schedule(config.optimizer, config.training.steps_per_epoch, first_step)


def sgd(schedule: optax.Schedule, momentum: float) -> optax.GradientTransformation:
    """Plain momentum: trace = gradient + momentum * trace; parameters -= rate(step) * trace."""
    return optax.sgd(schedule, momentum=momentum)
