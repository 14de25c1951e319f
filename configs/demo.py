"""The demo: a small 3D-DenseUNet through both phases on one real CT, within minutes on two CPU cores.

python -m experiments.demo --out=demo

350,735 parameters, 80 + 120 steps of two patches. On 2 CPU cores all stages took 195 s (174 s of
CPU time; 176 s and 160 s of these for the training), with other work beside them up to 392 s. Held-out liver
Dice 0.913, tumour Dice 0.741 (docs/results/demo.json); with other first weights 0.927 and 0.770; other
lengths and schedules of 110 to 120 steps, each run once, 0.914 to 0.925 and 0.650 to 0.771: a short run
swings, above all in the tumour.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs.base import base_config


def get_config() -> ConfigDict:
    """The cases are named by experiments/demo.py."""
    config = base_config()
    config.name = "demo"
    config.model.block_layers = (2, 2, 3, 4)
    config.model.growth_rate = 12
    config.model.bottleneck = 48
    config.model.stem_channels = 24
    config.model.decoder_channels = (64, 48, 32, 24, 16)
    # A short run: the running statistics must follow within tens of steps, yet average over some patches.
    config.model.bn_momentum = 0.95

    config.optimizer.learning_rate = 0.05
    config.optimizer.momentum = 0.9
    # Each phase starts anew; phase 2 falls to a quarter: 0.05, 0.025, 0.0125.
    config.optimizer.decay_epochs = 4
    config.optimizer.lr_floor = 0.0

    config.data.patch_size = (12, 96, 96)
    config.data.batch_size = 2
    config.phases.phase1.epochs = 8
    config.phases.phase2.epochs = 12
    # The one validation volume is small enough to be taken whole each time.
    config.training.validate_epochs = 2
    config.training.validate_patches = 0
    config.training.checkpoint_epochs = 4
    config.task.clean_up = (("largest", "liver"),)
    return config
