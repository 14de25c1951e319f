"""From a config to the fixed parts of a phase: network, optimiser, loss."""

from __future__ import annotations

from ml_collections import ConfigDict

from dsdenseunet.core.errors import InputError
from dsdenseunet.losses import combine
from dsdenseunet.models import registry
from dsdenseunet.tasks.task import Task
from dsdenseunet.training import optimizer
from dsdenseunet.training.arrays import check_patterns, matches, named
from dsdenseunet.training.schedules import ONE, phase_schedule
from dsdenseunet.training.state import Recipe, abstract_state, variables_of


def build_recipe(config: ConfigDict, phase: str | None = None) -> Recipe:
    """The recipe of a phase, by default of the first.

    Raises:
        InputError: the model's fields, or a patch that its stride does not divide.
    """
    phase, task = phase or config.phases.order[0], Task.of(config.task)
    model = registry.build(config.model)
    registry.check_patch(model.stride, config.data.patch_size)
    learning_rate = phase_schedule(config, phase)
    by_time = config.training.budget_seconds > 0
    return Recipe(
        model=model,
        learning_rate=learning_rate,
        optimizer=optimizer.build(config.optimizer, ONE if by_time else learning_rate),
        loss=combine.build(config.loss, task.ignore_label),
        regions=task.regions,
        accumulate=config.training.accumulate,
        frozen=tuple(config.phases[phase].frozen),
        by_time=by_time,
    )


def check_names(config: ConfigDict, phase: str) -> None:
    """Refuses patterns of a phase's arrays that fit none, or that leave nothing to train.

    Raises:
        InputError: such a pattern, or what `build_recipe` refuses.
    """
    recipe = build_recipe(config, phase)
    if not recipe.frozen and config.optimizer.name != "muon":
        # Without patterns there is no need to wait for the network's shapes.
        return
    names = list(named(variables_of(abstract_state(recipe))))
    if config.optimizer.name == "muon":
        check_patterns(config.optimizer.muon_parameters, names, "optimizer.muon_parameters")
    check_patterns(recipe.frozen, names, f"phases.{phase}.frozen")
    if all(matches(name, recipe.frozen) for name in names if name.startswith("params/")):
        raise InputError(
            f"config.phases.{phase}.frozen",
            found="patterns that all weights fit",
            expected="at least one that is trained",
            fix="leave a pattern out",
        )
