"""How a config trains, in the few words of a table's row."""

from __future__ import annotations

from typing import Any

from dsdenseunet.core.words import by
from dsdenseunet.training.phases import names

COLUMNS = ("config", "patch", "patches a step", "steps", "optimiser", "learning rate", "loss")


def row(name: str, config: Any) -> tuple[str, ...]:
    """A cell for each of `COLUMNS`.

    Args:
        name: what is put behind --config= to have it.
        config: of one network.
    """
    per_epoch = config.training.steps_per_epoch
    steps = [config.phases[phase].epochs * per_epoch for phase in names(config)]
    return (
        f"`{name}`",
        by(config.data.patch_size),
        str(config.data.batch_size),
        " + ".join(f"{count:,}" for count in steps),
        _optimiser(config.optimizer),
        _rate(config),
        _loss(config.loss),
    )


def _optimiser(optimizer: Any) -> str:
    if optimizer.name == "muon":
        return "Muon and Adam"
    if optimizer.name == "adam":
        return "AdamW" if optimizer.weight_decay else "Adam"
    return f"SGD, momentum {optimizer.momentum:g}" + (", Nesterov" if optimizer.nesterov else "")


def _rate(config: Any) -> str:
    optimizer = config.optimizer
    start, floor = f"{optimizer.learning_rate:g}", optimizer.lr_floor
    if optimizer.schedule != "step":
        return f"{start}, {optimizer.schedule}"
    if optimizer.decay_factor == 1:
        return f"{start}, constant"
    again = [name for name in names(config)[1:] if not config.phases[name].continue_schedule]
    return (
        f"{start}, x {optimizer.decay_factor:g} every {optimizer.decay_epochs} epochs"
        + (f" down to {floor:g}" if floor else "")
        + ("; each phase anew" if again else "")
    )


def _loss(loss: Any) -> str:
    words = {
        "cross_entropy": f"cross-entropy{_weights(loss.cross_entropy.class_weights)}",
        "dice": "Dice",
        "focal": "focal",
        "tversky": "Tversky",
    }
    terms = " + ".join(text for term, text in words.items() if loss[term].weight)
    return terms + (" at each output" if loss.deep_supervision else "")


def _weights(values: Any) -> str:
    return "" if set(values) == {1.0} else f" ({', '.join(f'{value:g}' for value in values)})"
