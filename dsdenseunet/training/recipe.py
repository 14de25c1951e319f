"""From a config to the fixed parts of a phase: network, optimiser, loss."""

from __future__ import annotations

from ml_collections import ConfigDict

from dsdenseunet.models import registry
from dsdenseunet.training.optimizer import phase_schedule, sgd
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
        optimizer=sgd(learning_rate, config.optimizer.momentum),
        class_weights=tuple(config.loss.class_weights),
        ignore_label=config.loss.ignore_label,
        accumulate=config.training.accumulate,
    )
