"""The network and the training of a config that is named, for data of one's own."""

from __future__ import annotations

import math
from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.configure.choice import Choice
from dsdenseunet.configure.choices import mirrored_axes
from dsdenseunet.configure.recipes import Recipe, shrinking
from dsdenseunet.data.fingerprint.data_fingerprint import Fingerprint
from dsdenseunet.models import registry
from dsdenseunet.training.settings import check_config, flatten

_LOSS, _MIRROR, _THRESHOLDS = "loss.", "data.mirror_probability", "inference.thresholds"
# What of a config is training, whatever the data.
_OF_TRAINING = (
    *(_LOSS, "optimizer.", "augment.", "training.", "inference."),
    *("data.scale_range", "data.scale_axes", _MIRROR),
)


def recipe_of(config: ConfigDict, base: ConfigDict, fingerprint: Fingerprint) -> Recipe:
    """What a config says of network and training, with the channels, classes and patches of the data.

    Weights and thresholds of classes are kept for data with the same classes, and are left out otherwise.

    Args:
        config: the one that is named.
        base: configs/base.py's, of which a written config names only what differs.
        fingerprint: of the data.

    Raises:
        InputError: a config that cannot be used, or a network that cannot have the data's channels.
    """
    check_config(config)
    task = fingerprint.task
    model = config.model.to_dict() | {
        "in_channels": len(task.channels),
        "num_classes": len(task.classes),
    }
    registry.check_fields(model)
    named = f"--network names {config.name}"
    values, usual = flatten(config.to_dict()), flatten(base.to_dict())
    settings = {
        name: value
        for name, value in values.items()
        if name.startswith(_OF_TRAINING) and value != usual.get(name)
    }
    alike = tuple(config.task.classes) == task.classes
    if not alike:
        ones = (1.0,) * len(task.classes)
        settings |= {name: ones for name in values if name.endswith(".class_weights")}
        settings.pop(_THRESHOLDS, None)
    mirror, sides = mirrored_axes(fingerprint)
    theirs = tuple(config.data.mirror_probability)
    settings[_MIRROR] = tuple(min(pair) for pair in zip(theirs, mirror, strict=True))
    training = f"{named}: its optimiser, augmentation and length."
    if settings[_MIRROR] != theirs:
        training += f" {sides}"
    loss = {name: settings.pop(name) for name in list(settings) if name.startswith(_LOSS)}
    weights = "its classes are these" if alike else "every class counts alike, as its own are others"
    return Recipe(
        Choice("network", {"model": model}, f"{named}: its network, with the data's channels and classes."),
        (
            Choice("loss", loss, f"{named}: its loss; {weights}."),
            Choice("training", settings, training),
            Choice("phases", _phases(config, base), f"{named}: its phases."),
        ),
        patches=shrinking(fingerprint, registry.build(model).stride),
        enough=math.prod(config.data.patch_size),
        batch=config.data.batch_size,
        grows=False,
        halves=model.get("dtype") == "bfloat16",
    )


def _phases(config: ConfigDict, base: ConfigDict) -> dict[str, Any]:
    """Epochs of each phase, then what else of a phase is not as a phase is by default."""
    if config.phases == base.phases:
        return {}
    usual = base.phases[base.phases.order[0]]
    settings: dict[str, Any] = {"phases": {name: config.phases[name].epochs for name in config.phases.order}}
    for name in config.phases.order:
        for field, value in config.phases[name].to_dict().items():
            if field != "epochs" and value != usual.to_dict()[field]:
                settings[f"phases.{name}.{field}"] = value
    return settings
