"""3D-DenseUNet-569 on 14 volumes of LiTS, in three folds that keep a patient's scans together.

    python -m experiments.prepare --data=LiTS256 --cache=cache-lits14
    python -m experiments.train --config=configs/lits14.py:ds --workdir=runs/lits14-ds

`:ds`, `:standard`, `:ds_literal` and `:standard_literal` are those of configs/ds_dense_unet_569.py. The
volumes have every second slice, 256 x 256 pixels, and Hounsfield units from -40 to 160. Where LiTS is at
hand, `--config.data.cache=cache` trains on all 131 volumes in the same way.

`:best` is another network for an hour of one core: the hippocampus's, with a level more, on voxels of 1.5 mm,
on which more was found of tumours than on larger ones. Nearly half of its patches are centred on a tumour,
and their intensities vary more, as contrast phases do. Its cache is another one:

    python -m experiments.prepare --config=configs/lits14.py:best --data=LiTS256 --cache=cache-lits14-best
    python -m experiments.train --config=configs/lits14.py:best --workdir=runs/lits14-best --budget_hours=0.67

A name of configs/hippocampus.py's `NETWORKS` (`:dense_unet_ds`, `:dense_unet_standard`, `:unet`, `:mednext`)
puts that network into this recipe, with the optimiser that all of them share there, so that what differs is
the network. It reads `:best`'s cache.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import decathlon, ds_dense_unet_569, hippocampus
from configs.base import in_order, phase

# Their scans agree in size, spacing and anatomy. Numbers 14 and 15 look like one patient, too, at two times.
# They are not listed, as every fold would be dealt anew: they are in one fold as it is.
SAME_PATIENT = (("volume-7", "volume-8", "volume-9", "volume-10"),)


# The variants that are small and fast.
SMALL = ("best", *hippocampus.NETWORKS)


def get_config(variant: str = "ds") -> ConfigDict:
    """Args: `best`, a name of `hippocampus.NETWORKS`, or a variant of configs/ds_dense_unet_569.py."""
    small = variant in SMALL
    config = ds_dense_unet_569.get_config("ds" if small else variant)
    config.name = f"lits14:{variant}"
    # All that these copies have of the scans' range.
    config.task.channels = (("CT", "window", -40.0, 160.0),)
    config.data.cache = "cache-lits14"
    config.data.folds = 3
    config.data.same_patient = SAME_PATIENT
    if small:
        _small_and_fast(config)
    if variant in hippocampus.NETWORKS:
        shared = hippocampus.get_config(variant)
        config.optimizer = shared.optimizer
        # Of :best's own network the levels fit the patch, which is larger than the hippocampus's.
        if hippocampus.NETWORKS[variant]:
            config.model = shared.model
    return config


def _small_and_fast(config: ConfigDict) -> None:
    recipe = decathlon.get_config("Task04_Hippocampus")
    config.task.spacing_mm = (1.5, 1.5, 1.5)
    config.task.clean_up = (("largest", "liver"),)
    config.model = recipe.model
    config.model.num_classes = 3
    config.model.places = False
    config.model.widths = (24, 64, 128)
    config.model.encoder_blocks = (0, 2, 5)
    config.model.decoder_blocks = (1, 2)
    config.loss.cross_entropy.class_weights = (1.0, 1.0, 1.0)
    config.loss.dice.weight = 1.0
    config.optimizer = recipe.optimizer
    config.data.cache = "cache-lits14-best"
    # 96 x 168 x 168 mm: half of a liver.
    config.data.patch_size = (64, 112, 112)
    config.data.centre_share = (0.3, 0.25, 0.45)
    config.data.scale_range = (1.0, 1.0)
    # Nobody's liver lies on the left.
    config.data.mirror_probability = (0.0, 0.0, 0.0)
    config.augment.rotation.probability = 0.6
    config.augment.scaling.probability = 0.6
    # 20 HU either way: contrast phases differ by more in the liver.
    config.augment.brightness.probability = 0.7
    config.augment.brightness.range = (-0.2, 0.2)
    config.augment.contrast.probability = 0.7
    config.augment.contrast.range = (0.65, 1.35)
    config.augment.gamma.probability = 0.3
    config.augment.noise.probability = 0.2
    # With a half, a scan takes three times as long and is segmented as well.
    config.inference.overlap = 0.25
    config.phases = in_order(train=phase(25))
    config.training.steps_per_epoch = 100
    config.training.validate_epochs = 0
    config.training.validate_patches = 0
    config.training.validate_cases = 0
