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
    """
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

VARIANTS: dict[str, Variant] = {
    # H-DenseUNet's 3D part alone, without the sums that its release does not have, and with them.
    "dense_unet_65": Variant(_DENSE_UNET_65, _SLAB, li),
    "dense_unet_65_sums": Variant({**_DENSE_UNET_65, "link": "after"}, _SLAB, li),
}


def get_config(variant: str = "dense_unet_65") -> ConfigDict:
    """Args: a name of `VARIANTS`, or, where it has `authors`, the name followed by `_authors`."""
    return config_of(VARIANTS, "table_one", variant)
