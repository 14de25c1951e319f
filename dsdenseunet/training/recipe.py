"""From a config to the fixed parts of a phase: network, optimiser, loss."""

from __future__ import annotations

from ml_collections import ConfigDict

from dsdenseunet.losses import combine
from dsdenseunet.models import registry
from dsdenseunet.training import optimizer
from dsdenseunet.training.schedules import phase_schedule
from dsdenseunet.training.state import Recipe


def build_recipe(config: ConfigDict, phase: int = 1) -> Recipe:
    """The recipe of phase 1 or 2.

    Raises:
        InputError: the model's fields, or a patch that its stride does not divide.
    """
    model = registry.build(config.model)
    registry.check_patch(model.stride, config.data.patch_size)
    learning_rate = phase_schedule(config, phase)
    return Recipe(
        model=model,
        learning_rate=learning_rate,
        optimizer=optimizer.build(config.optimizer, learning_rate),
        loss=combine.build(config.loss),
        accumulate=config.training.accumulate,
    )
