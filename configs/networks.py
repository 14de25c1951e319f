"""Published networks for LiTS on one recipe, and on their authors' own.

    python -m experiments.train --config=configs/networks.py:unet --workdir=runs/unet

`NAME` trains a network by the common recipe: configs/base.py's, of which only the network is replaced, and
the patch where the network's stride does not divide it. `NAME_authors` trains it as its authors do, as far as
this program can; the function that makes the changes says what it cannot. None has been run to its end yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from configs.base import base_config, in_order, phase

# For networks that halve all three axes up to five times; the paper's 12 x 224 x 224 has 2 % more voxels.
_CUBOID = (64, 96, 96)
# nnU-Net's for LiTS.
_CUBE = (128, 128, 128)


class Variant(NamedTuple):
    """A network and how it is trained.

    Attributes:
        model: `config.model`; docs/reference/networks/ says what each field means.
        patch_size: of the common recipe, (D, H, W).
        authors: changes the common recipe into the authors'; None where they have none for LiTS.
    """

    model: Mapping[str, Any]
    patch_size: tuple[int, int, int]
    authors: Callable[[ConfigDict], None] | None = None


def nnunet(config: ConfigDict, patch_size: tuple[int, int, int] = _CUBE) -> None:
    """nnU-Net's training (nnUNetTrainer of version 2.8): 1000 epochs of 250 steps of two patches.

    The coarsest of its outputs has weight 0 in its loss, and is left out here. Not as there: cases keep their
    own spacing and the task's window, scaling is by axis, brightness adds instead of multiplying, and decay
    is of kernels alone and decoupled from the gradient.
    """
    config.model.auxiliary_outputs = 3
    config.loss.deep_supervision = (0.5, 0.25, 0.125)
    _cross_entropy_and_dice(config)
    config.optimizer.learning_rate = 0.01
    config.optimizer.momentum = 0.99
    config.optimizer.nesterov = True
    config.optimizer.weight_decay = 3e-5
    config.optimizer.clip_norm = 12.0
    config.optimizer.schedule = "polynomial"
    config.optimizer.lr_floor = 0.0
    _nnunet_data(config, patch_size)


def mednext(config: ConfigDict) -> None:
    """MedNeXt's training: nnU-Net's data, loss and length, with AdamW at a constant rate.

    Constant is what the paper says; the released trainer inherits nnU-Net's polynomial decay, to be had by
    --config.optimizer.schedule=polynomial. Not as there: see `nnunet`, and cases have 1 mm spacing there.
    """
    config.model.auxiliary_outputs = 4
    config.loss.deep_supervision = (0.5, 0.25, 0.125, 0.0625)
    _cross_entropy_and_dice(config)
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.epsilon = 1e-4
    config.optimizer.weight_decay = 3e-5
    config.optimizer.clip_norm = 12.0
    config.optimizer.decay_factor = 1.0
    _nnunet_data(config, _CUBE)


def _cross_entropy_and_dice(config: ConfigDict) -> None:
    config.loss.cross_entropy.class_weights = (1.0, 1.0, 1.0)
    config.loss.dice.weight = 1.0


def _nnunet_data(config: ConfigDict, patch_size: tuple[int, int, int]) -> None:
    """Patches, augmentation, length and sliding window, which MedNeXt's training has from nnU-Net."""
    config.data.patch_size = patch_size
    config.data.batch_size = 2
    # One patch of two is centred on a class of the foreground.
    config.data.centre_share = (0.5, 0.25, 0.25)
    config.data.scale_range = (1.0, 1.0)
    augment = config.augment
    augment.rotation = {"probability": 0.2, "degrees": (30.0, 30.0, 30.0)}
    augment.scaling = {"probability": 0.2, "range": (0.7, 1.4)}
    augment.noise = {"probability": 0.1, "range": (0.0, 0.316)}
    augment.blur = {"probability": 0.2, "range": (0.5, 1.0)}
    augment.brightness = {"probability": 0.15, "range": (-0.1, 0.1)}
    augment.contrast = {"probability": 0.15, "range": (0.75, 1.25)}
    augment.low_resolution = {"probability": 0.25, "range": (0.5, 1.0)}
    augment.gamma = {"probability": 0.3, "range": (0.7, 1.5)}
    config.phases = in_order(train=phase(1000))
    config.training.steps_per_epoch = 250
    config.inference.mirror_axes = (0, 1, 2)


# What nnU-Net's U-Nets have in common.
_NNUNET = {
    "in_channels": 1,
    "num_classes": 3,
    "widths": (32, 64, 128, 256, 320, 320),
    "norm_epsilon": 1e-5,
    "dtype": "float32",
    "remat": "none",
    "auxiliary_outputs": 0,
}

_UNET = {
    **_NNUNET,
    "family": "unet",
    "encoder_convs": (2, 2, 2, 2, 2, 2),
    "decoder_convs": (2, 2, 2, 2, 2),
}

_RESIDUAL_UNET = {
    **_NNUNET,
    "family": "residual_unet",
    "encoder_blocks": (1, 3, 4, 6, 6, 6),
    "decoder_convs": (1, 1, 1, 1, 1),
}

_CICEK_UNET = {
    "family": "cicek_unet",
    "in_channels": 1,
    "num_classes": 3,
    "widths": (32, 64, 128, 256),
    "bn_momentum": 0.99,
    "bn_epsilon": 1e-3,
    "dtype": "float32",
    "remat": "none",
}

# Blocks and expansions of the stages, and whether the authors compute blocks again in the backward pass.
_MEDNEXT = {
    "s": ((2, 2, 2, 2, 2, 2, 2, 2, 2), (2, 2, 2, 2, 2, 2, 2, 2, 2), "none"),
    "b": ((2, 2, 2, 2, 2, 2, 2, 2, 2), (2, 3, 4, 4, 4, 4, 4, 3, 2), "none"),
    "m": ((3, 4, 4, 4, 4, 4, 4, 4, 3), (2, 3, 4, 4, 4, 4, 4, 3, 2), "block"),
    "l": ((3, 4, 8, 8, 8, 8, 8, 4, 3), (3, 4, 8, 8, 8, 8, 8, 4, 3), "block"),
}


def _mednext(size: str, kernel: int) -> dict[str, Any]:
    blocks, expansion, remat = _MEDNEXT[size]
    return {
        "family": "mednext",
        "in_channels": 1,
        "num_classes": 3,
        "width": 32,
        "blocks": blocks,
        "expansion": expansion,
        "kernel_size": kernel,
        "norm_epsilon": 1e-5,
        "dtype": "float32",
        "remat": remat,
        "auxiliary_outputs": 0,
    }


VARIANTS: dict[str, Variant] = {
    # nnU-Net's plain U-Net.
    "unet": Variant(_UNET, _CUBOID, nnunet),
    # nnU-Net's residual encoder. Its presets M, L and XL, for cards of 8, 24 and 40 GB, are one network with
    # larger and larger patches.
    "residual_unet": Variant(_RESIDUAL_UNET, _CUBOID),
    **{
        f"residual_unet_{preset}": Variant(_RESIDUAL_UNET, patch, partial(nnunet, patch_size=patch))
        for preset, patch in (("m", _CUBE), ("l", (192, 192, 192)), ("xl", (224, 256, 224)))
    },
    # The first 3D U-Net; its authors have not trained it on LiTS.
    "cicek_unet": Variant(_CICEK_UNET, _CUBOID),
    # MedNeXt v1. With kernels 5^3 its authors start from trained weights with 3^3:
    # --config.phases.phase1.start=DIR (of `_authors` phases.train.start), the folder of such a run.
    **{
        f"mednext_{size}_k{kernel}": Variant(_mednext(size, kernel), _CUBOID, mednext)
        for size in _MEDNEXT
        for kernel in (3, 5)
    },
}


def get_config(variant: str = "unet") -> ConfigDict:
    """Args: a name of `VARIANTS`, or, where it has `authors`, the name followed by `_authors`."""
    return config_of(VARIANTS, "networks", variant)


def config_of(variants: Mapping[str, Variant], file: str, variant: str) -> ConfigDict:
    """The config of a table's network.

    Args:
        variants: the table.
        file: name of the config file that has it.
        variant: see `get_config`.
    """
    known = [*variants, *(f"{name}_authors" for name, one in variants.items() if one.authors)]
    if variant not in known:
        raise ValueError(f"variant {variant!r}: expected one of {', '.join(known)}")
    name = variant.removesuffix("_authors")
    config = base_config()
    config.name = f"{file}:{variant}"
    config.model = ConfigDict(dict(variants[name].model))
    config.data.patch_size = variants[name].patch_size
    authors = variants[name].authors
    if variant != name and authors:
        authors(config)
    return config
