"""What each choice of the hippocampus's recipe is worth, and every 3D family by one common recipe.

    python -m experiments.prepare --data=Task04_Hippocampus --cache=cache
    python -m experiments.train --config=configs/hippocampus.py:mednext --workdir=runs/x --budget_hours=0.2

`:recipe` is configs/decathlon.py's; a name of `CHOICES` changes one thing in it. A name of `NETWORKS`
replaces its network, its patch by a larger one, and its optimiser by AdamW: Muon is set for its own network's
layers. docs/explanation/choices.md has what each choice is worth, docs/how-to/compare.md how networks are
compared.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from configs import decathlon

# Fields of a single choice each. Optimisers have rates of their own: none is good at another one's.
CHOICES: dict[str, dict[str, Any]] = {
    "recipe": {},
    # The loss: cross-entropy and Dice in the recipe.
    "cross_entropy": {"loss.dice.weight": 0.0},
    "dice": {"loss.cross_entropy.weight": 0.0},
    # The optimiser: Muon and Adam.
    "adamw": {"optimizer.name": "adam", "optimizer.learning_rate": 3e-3},
    "sgd": {"optimizer.name": "sgd", "optimizer.nesterov": True, "optimizer.learning_rate": 0.1},
    "sgd_low_rate": {"optimizer.name": "sgd", "optimizer.nesterov": True, "optimizer.learning_rate": 0.02},
    # Links: the last layer sees the image, and the coarsest map where in the patch it is.
    "no_image_link": {"model.image_link": False},
    "no_places": {"model.places": False},
    # The finest maps have few channels and no block on the way down.
    "wide_early_layers": {"model.widths": (96, 96)},
    "early_blocks": {"model.encoder_blocks": (2, 5)},
    # Separable (246,936 parameters) or not: as wide (1,493,040), and with about as many (240,240).
    "standard": {"model.separable": False},
    "standard_narrow": {"model.separable": False, "model.widths": (24, 36)},
    # Intensities: their mean and deviation in the recipe.
    "percentiles": {"task.channels": (("MRI", "percentiles", 0.5, 99.5),)},
    "no_augmentation": {
        f"augment.{kind}.probability": 0.0 for kind in ("rotation", "scaling", "brightness", "contrast")
    },
}

# Holds five cases of six whole, so that predicting takes one window each; networks here halve it three times.
PATCH = (40, 56, 40)
# Small enough for hundreds of steps within minutes of one core. Running statistics must follow within tens of
# steps.
_COMMON = {"in_channels": 1, "num_classes": 3, "dtype": "float32", "remat": "none"}
_DENSE = {
    "block_layers": (4, 8),
    "growth_rate": 16,
    "bottleneck": 64,
    "stem_channels": 32,
    "compression": 0.5,
    "decoder_channels": (64, 32, 16),
    "bn_momentum": 0.9,
}
_PAPERS = {**_DENSE, "family": "dense_unet", "link": "add", "bn_epsilon": 1e-3, "auxiliary_outputs": 0}
_NNUNET = {"widths": (16, 32, 64, 128), "norm_epsilon": 1e-5, "auxiliary_outputs": 0}
NETWORKS: dict[str, dict[str, Any]] = {
    "separable_unet": {},
    "dense_unet_ds": {**_PAPERS, "separable": True},
    "dense_unet_standard": {**_PAPERS, "separable": False},
    "dense_unet_65": {
        **_DENSE,
        "family": "dense_unet_alone",
        "dimensions": 3,
        "slices": 1,
        "link": "none",
        "dropout_rate": 0.0,
    },
    "cicek_unet": {
        "family": "cicek_unet",
        "widths": (8, 16, 32, 64),
        "bn_momentum": 0.9,
        "bn_epsilon": 1e-3,
    },
    "ra_unet": {"family": "ra_unet", "dimensions": 3, "filters": 4, "levels": 3, "bn_momentum": 0.9},
    "unet": {
        **_NNUNET,
        "family": "unet",
        "encoder_convs": (2, 2, 2, 2),
        "decoder_convs": (2, 2, 2),
    },
    "residual_unet": {
        **_NNUNET,
        "family": "residual_unet",
        "encoder_blocks": (1, 2, 2, 2),
        "decoder_convs": (1, 1, 1),
    },
    "mednext": {
        "family": "mednext",
        "width": 16,
        # Each stage is compiled by itself: seven of them took 80 s of CPU time, on a core that others shared.
        "blocks": (1, 2, 2, 2, 1),
        "expansion": (2,) * 5,
        "kernel_size": 3,
        "norm_epsilon": 1e-5,
        "auxiliary_outputs": 0,
    },
}


def get_config(variant: str = "recipe") -> ConfigDict:
    """Args: a name of `CHOICES` or of `NETWORKS`."""
    if variant not in {**CHOICES, **NETWORKS}:
        raise ValueError(f"variant {variant!r}: expected one of {', '.join({**CHOICES, **NETWORKS})}")
    config = decathlon.get_config("Task04_Hippocampus")
    config.name = f"hippocampus:{variant}"
    if variant in CHOICES:
        config.update_from_flattened_dict(CHOICES[variant])
        return config
    if NETWORKS[variant]:
        config.model = ConfigDict({**_COMMON, **NETWORKS[variant]})
    config.data.patch_size = PATCH
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 2e-3
    return config
