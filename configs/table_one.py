"""The networks that the paper's Table 1 compares with, on one recipe and on their authors' own.

    python -m experiments.train --config=configs/table_one.py:dense_unet_65 --workdir=runs/dense_unet_65

`NAME` trains a network by the common recipe: configs/base.py's, of which only the network is replaced, and
the patch where the network's stride does not divide it. `NAME_authors` trains it as its authors do, as far as
this program can; the function that makes the changes says what it cannot. None has been run to its end yet.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs.base import in_order, phase
from configs.networks import Variant, config_of

# The paper's patch, which networks that halve D twice, or never, can have.
_SLAB = (12, 224, 224)


def li(config: ConfigDict) -> None:
    """Li et al.'s training (H-DenseUNet's released code): SGD at a constant rate, a patch of 8 slices a step.

    Half of the patches are centred on liver, half on tumour, zoomed by up to a fifth in the plane, mirrored.
    They stopped by hand, after a number of steps that is not known: here as many as the paper takes. Not as
    there: every slice of a patch counts in the loss (theirs leaves out the first and the last), turns by 90
    degrees are left out, batches without one of the classes are trained on, and intensities reach the network
    as -1 to 1, not as -248 to 202.

    Labels are theirs: tumour from a probability of 0.9 on, liver from 0.5 on, and of both together the
    largest piece. Not as there: no other network says first where the liver is, and holes are not filled.
    """
    config.task.clean_up = (("largest", "liver"),)
    config.inference.thresholds = (0.5, 0.9)
    config.loss.cross_entropy.class_weights = (0.78, 0.65, 8.57)
    config.optimizer.learning_rate = 1e-3
    config.optimizer.momentum = 0.9
    config.optimizer.nesterov = True
    config.optimizer.decay_factor = 1.0
    config.data.patch_size = (8, 224, 224)
    config.data.centre_share = (0.0, 0.5, 0.5)
    config.data.mirror_probability = (0.0, 0.5, 0.5)
    config.phases = in_order(train=phase(1100))


_DENSE_UNET_65 = {
    "family": "dense_unet_alone",
    "in_channels": 1,
    "num_classes": 3,
    "dimensions": 3,
    "slices": 1,
    "block_layers": (3, 4, 12, 8),
    "growth_rate": 32,
    "bottleneck": 128,
    "stem_channels": 96,
    "compression": 0.5,
    "decoder_channels": (504, 224, 192, 96, 64),
    "link": "none",
    "dropout_rate": 0.0,
    "bn_momentum": 0.99,
    "dtype": "float32",
    "remat": "none",
}


def li_slices(config: ConfigDict) -> None:
    """The same of the 2D network: 40 slices a step, here as five patches of eight."""
    li(config)
    config.data.batch_size = 5


def li_hybrid(config: ConfigDict) -> None:
    """The same in H-DenseUNet's three stages, each from the best weights of the one before.

    The second trains what is new, beside a 2D network that stays as it is. The third trains everything but
    what normalisations of the 2D network and of the 3D dense blocks multiply by and add. Not as there: all
    stages have one patch of 8 slices a step, where the first has 40 slices of different places and starts
    from ImageNet's weights.
    """
    li(config)
    config.model.stage = "end_to_end"
    new = ("volume_*", "fusion/*", "head/*")
    normalised = ("slices_*norm*", "volume_block*norm*")
    config.phases = in_order(
        slices=phase(1100, model={"stage": "slices"}),
        volume=phase(
            1100,
            start="best:slices",
            leave_out=(*(f"params/{part}" for part in new), "batch_stats/volume_*", "batch_stats/fusion/*"),
            frozen=("params/slices_*",),
            model={"stage": "volume", "dropout_rate": 0.1},
        ),
        end_to_end=phase(
            1100,
            start="best:volume",
            frozen=tuple(f"params/{part}/{name}" for part in normalised for name in ("scale", "bias")),
        ),
    )


def jin(config: ConfigDict) -> None:
    """Jin et al.'s training of RA-UNet (its released code): soft Dice, Adam at 1e-3, nothing augmented.

    Two patches of 32 slices a step. Not as there: one network learns both classes by softmax, where
    theirs are one network for the liver and one for the tumour inside it; there is no box around the liver,
    and half of the patches are centred on liver or tumour instead; the rate falls every 15 epochs, not where
    validation stands still for so long; and the window is mapped to -1 to 1, not to 0 to 1.
    """
    _window(config, -100.0, 200.0)
    config.loss.cross_entropy.weight = 0.0
    config.loss.dice.weight = 1.0
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.decay_epochs = 15
    config.optimizer.decay_factor = 0.1
    config.optimizer.lr_floor = 1e-5
    config.data.batch_size = 2
    config.data.centre_share = (0.5, 0.25, 0.25)
    config.data.scale_range = (1.0, 1.0)
    config.data.mirror_probability = (0.0, 0.0, 0.0)
    config.phases = in_order(train=phase(50))
    config.training.steps_per_epoch = 1000
    # Windows of 32 slices every 20.
    config.inference.overlap = 0.375


def jin_slices(config: ConfigDict) -> None:
    """The same of the 2D network: 90 slices a step, here as ten patches of nine, for 100 epochs."""
    jin(config)
    config.optimizer.decay_epochs = 20
    config.data.patch_size = (9, 256, 256)
    config.data.batch_size = 10
    config.phases = in_order(train=phase(100))
    config.inference.overlap = 0.5


def kaluva(config: ConfigDict) -> None:
    """The training of Kaluva et al.'s earlier release: Adam at 1e-4, three slices a step, nothing augmented.

    The slices are of cases with tumour, between its first and its last one: here half of them are centred on
    tumour. Not as there: edges of liver and tumour weigh no more than what is inside them, and all weights'
    squares times 5e-6 are no part of the loss. Of the paper's own training nothing but a Dice loss is known.
    What it does in two stages, tumour inside the liver, is left to `config.task.clean_up`.
    """
    _window(config, -100.0, 400.0)
    config.model.windows = _seen((-100.0, 400.0))
    config.task.select_by = ("tumour",)
    config.task.clean_up = (("largest", "liver"), ("within", "tumour", "liver", 0.0))
    config.loss.cross_entropy.class_weights = (1.0, 5.0, 15.0)
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-4
    config.optimizer.decay_factor = 1.0
    config.data.patch_size = (1, 512, 512)
    config.data.batch_size = 3
    config.data.centre_share = (0.0, 0.5, 0.5)
    config.data.scale_range = (1.0, 1.0)
    config.data.mirror_probability = (0.0, 0.0, 0.0)
    config.phases = in_order(train=phase(200))
    config.training.steps_per_epoch = 1000
    config.training.validate_patches = 250


def _seen(task: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    """The release's windows, of Hounsfield units, where `task` is what -1 to 1 stands for."""
    middle, reach = (task[0] + task[1]) / 2, (task[1] - task[0]) / 2
    windows = ((0.0, 100.0), (-100.0, 200.0), (-100.0, 400.0))
    return tuple(((low - middle) / reach, (high - middle) / reach) for low, high in windows)


def _window(config: ConfigDict, low: float, high: float) -> None:
    """Other Hounsfield units than the paper's."""
    config.task.channels = (("CT", "window", low, high),)


_DENSE_UNET_167 = {
    **_DENSE_UNET_65,
    "dimensions": 2,
    "slices": 3,
    "block_layers": (6, 12, 36, 24),
    "growth_rate": 48,
    "bottleneck": 192,
    "decoder_channels": (768, 384, 96, 96, 64),
    "dropout_rate": 0.3,
}

_RA_UNET = {
    "family": "ra_unet",
    "in_channels": 1,
    "num_classes": 3,
    "dimensions": 3,
    "filters": 8,
    "levels": 5,
    "bn_momentum": 0.99,
    "dtype": "float32",
    "remat": "none",
}

_KALUVA = {
    "family": "kaluva",
    "in_channels": 1,
    "num_classes": 3,
    # Of the window that base.py's task has; it ends at 250, where the last of these reaches 0.7.
    "windows": _seen((-200.0, 250.0)),
    "half": True,
    "poolings": 5,
    "layers": 5,
    "growth_rate": 16,
    "first_channels": 48,
    "dropout_rate": 0.2,
    "bn_momentum": 0.9,
    "dtype": "float32",
    "remat": "none",
}

_H_DENSE_UNET = {
    "family": "h_dense_unet",
    "in_channels": 1,
    "num_classes": 3,
    "stage": "together",
    "slices_blocks": (6, 12, 36, 24),
    "slices_growth": 48,
    "slices_decoder": (768, 384, 96, 96, 64),
    "slices_link": "none",
    "volume_blocks": (3, 4, 12, 8),
    "volume_growth": 32,
    "volume_decoder": (504, 224, 192, 96, 64),
    "stem_channels": 96,
    "slices_dropout": 0.3,
    "dropout_rate": 0.3,
    "bn_momentum": 0.99,
    "dtype": "float32",
    "remat": "none",
}

VARIANTS: dict[str, Variant] = {
    # H-DenseUNet's 3D part alone, without the sums that its release does not have, and with them.
    "dense_unet_65": Variant(_DENSE_UNET_65, _SLAB, li),
    "dense_unet_65_sums": Variant({**_DENSE_UNET_65, "link": "after"}, _SLAB, li),
    # H-DenseUNet's 2D part alone, as its hybrid has it and with the sums of its own release; the hybrid.
    "dense_unet_167": Variant(_DENSE_UNET_167, _SLAB, li_slices),
    "dense_unet_167_sums": Variant({**_DENSE_UNET_167, "link": "before"}, _SLAB, li_slices),
    "h_dense_unet": Variant(_H_DENSE_UNET, _SLAB, li_hybrid),
    # RA-UNet-II, and RA-UNet-I, by which its authors find the liver's box.
    "ra_unet": Variant(_RA_UNET, (32, 224, 224), jin),
    "ra_unet_2d": Variant({**_RA_UNET, "dimensions": 2, "filters": 4}, _SLAB, jin_slices),
    # On halved slices, as the earlier release, and on whole ones, as the paper's network for tumours.
    "kaluva": Variant(_KALUVA, (12, 256, 256), kaluva),
    "kaluva_whole": Variant({**_KALUVA, "half": False}, _SLAB, kaluva),
}


def get_config(variant: str = "dense_unet_65") -> ConfigDict:
    """Args: a name of `VARIANTS`, or, where it has `authors`, the name followed by `_authors`."""
    return config_of(VARIANTS, "table_one", variant)
