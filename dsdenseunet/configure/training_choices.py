"""How each network is trained: loss, optimiser, augmentation and length.

The recipes are those of configs/decathlon.py, configs/networks.py (`unet_authors`) and configs/base.py, whose
fields stand in the written config by their values.
"""

from __future__ import annotations

from typing import Any

from dsdenseunet.configure.choice import Choice
from dsdenseunet.configure.choices import mirrored_axes
from dsdenseunet.data.fingerprint.data_fingerprint import Fingerprint


def loss(fingerprint: Fingerprint, auxiliary: int = 0) -> Choice:
    """Cross-entropy and soft Dice, of the network's coarser outputs too where it has any."""
    ones = (1.0,) * len(fingerprint.task.classes)
    settings: dict[str, Any] = {
        "loss.cross_entropy.class_weights": ones,
        "loss.focal.class_weights": ones,
        "loss.dice.weight": 1.0,
    }
    share = min(share for share in fingerprint.class_shares[1:])
    why = (
        f"Cross-entropy and soft Dice count alike: the rarest class has {100 * share:.2f} % of the voxels, "
        "and Dice does not depend on how many there are. Every class counts alike."
    )
    if auxiliary:
        settings["loss.deep_supervision"] = tuple(0.5 ** (n + 1) for n in range(auxiliary))
        why += " Coarser outputs of the network are trained too, each with half the weight of the one before."
    return Choice("loss", settings, why)


def of_crops() -> tuple[Choice, ...]:
    """The recipe that was measured on the hippocampus."""
    length = Choice(
        "length",
        {
            "phases": {"train": 25},
            "training.steps_per_epoch": 100,
            "training.validate_epochs": 0,
            "training.validate_patches": 0,
            "training.validate_cases": 0,
        },
        "2,500 steps, as measured; --config.training.budget_seconds=900 goes through the same schedule in 15 "
        "minutes. The rate falls to 0, so that the last weights are the best and none before them are a "
        "candidate. Cases are small: they are validated whole.",
    )
    optimizer = Choice(
        "optimiser",
        {
            "optimizer.name": "muon",
            "optimizer.learning_rate": 8e-3,
            "optimizer.momentum": 0.9,
            "optimizer.muon_scale": 5.6,
            "optimizer.muon_parameters": tuple(
                f"params/{part}*" for part in ("down", "encoder", "up", "decoder")
            ),
            "optimizer.beta2": 0.99,
            "optimizer.weight_decay": 0.01,
            "optimizer.clip_norm": 1.0,
            "optimizer.schedule": "cosine",
            "optimizer.warm_up_steps": 125,
            "optimizer.lr_floor": 0.0,
        },
        "The recipe that was measured with this network: Muon on the matrices, Adam on the rest.",
    )
    augmentation = Choice(
        "augmentation",
        {
            "data.scale_range": (1.0, 1.0),
            "data.mirror_probability": (0.0, 0.0, 0.0),
            "augment.rotation.probability": 0.8,
            "augment.scaling.probability": 0.8,
            "augment.brightness.probability": 0.5,
            "augment.contrast.probability": 0.5,
            "augment.contrast.range": (0.9, 1.1),
        },
        "Of the same recipe. Small crops are mostly cut around one structure in one pose: none is mirrored.",
    )
    return optimizer, augmentation, length


def of_nnunet(fingerprint: Fingerprint) -> tuple[Choice, ...]:
    """nnU-Net's training, a quarter as long."""
    mirror, sides = mirrored_axes(fingerprint)
    optimizer = Choice(
        "optimiser",
        {
            "optimizer.learning_rate": 0.01,
            "optimizer.momentum": 0.99,
            "optimizer.nesterov": True,
            "optimizer.weight_decay": 3e-5,
            "optimizer.clip_norm": 12.0,
            "optimizer.schedule": "polynomial",
            "optimizer.lr_floor": 0.0,
        },
        "nnU-Net's: the network comes with it.",
    )
    augmentation = Choice(
        "augmentation",
        {
            "data.scale_range": (1.0, 1.0),
            "data.mirror_probability": mirror,
            "augment.rotation": {"probability": 0.2, "degrees": (30.0, 30.0, 30.0)},
            "augment.scaling": {"probability": 0.2, "range": (0.7, 1.4)},
            "augment.noise": {"probability": 0.1, "range": (0.0, 0.316)},
            "augment.blur": {"probability": 0.2, "range": (0.5, 1.0)},
            "augment.brightness": {"probability": 0.15, "range": (-0.1, 0.1)},
            "augment.contrast": {"probability": 0.15, "range": (0.75, 1.25)},
            "augment.low_resolution": {"probability": 0.25, "range": (0.5, 1.0)},
            "augment.gamma": {"probability": 0.3, "range": (0.7, 1.5)},
        },
        f"nnU-Net's kinds and sizes. {sides}",
    )
    length = Choice(
        "length",
        {
            "phases": {"train": 250},
            "training.steps_per_epoch": 250,
            "training.validate_epochs": 0,
        },
        "A quarter of nnU-Net's 1000 epochs of 250 steps. --config.training.budget_seconds=36000 goes "
        "through the same schedule in ten hours, whatever the steps. The rate falls to 0, so that the last "
        "weights are the best and none before them are a candidate.",
    )
    return optimizer, augmentation, length


def of_the_paper(fingerprint: Fingerprint) -> tuple[Choice, ...]:
    """The paper's training."""
    mirror, sides = mirrored_axes(fingerprint)
    augmentation = Choice(
        "augmentation",
        {"data.mirror_probability": mirror},
        f"The paper's zoom of up to a fifth in the plane, and mirrors. {sides}",
    )
    length = Choice(
        "length",
        {"training.steps_per_epoch": 10},
        "The paper's cascade, 1,100 epochs of 10 steps: the best weights of the first phase start the second."
        "",
    )
    return augmentation, length
