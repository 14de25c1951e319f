"""Data sets of the Medical Segmentation Decathlon, each from its own folder.

    python -m experiments.prepare --data=Task04_Hippocampus --cache=cache
    python -m experiments.train --config=configs/decathlon.py:Task04_Hippocampus --workdir=runs/hippocampus \
        --config.data.cache=cache
    python -m experiments.predict --workdir=runs/hippocampus --input=Task04_Hippocampus --output=predictions
    python -m experiments.evaluate --predictions=predictions --references=Task04_Hippocampus/labelsTr \
        --out=scores

`Task04_Hippocampus` is known here. After the colon may also stand the folder of any other data set: its
dataset.json then says what is segmented, and the network has the size of the hippocampus's.
"""

from __future__ import annotations

from pathlib import Path

from ml_collections import ConfigDict

from configs.base import base_config, in_order, phase
from dsdenseunet.tasks import decathlon
from dsdenseunet.tasks.channel import Channel
from dsdenseunet.tasks.task import Region, Task

# MR of about 35 x 50 x 36 voxels of 1 mm around either hippocampus.
HIPPOCAMPUS = Task(
    name="Hippocampus",
    classes=("background", "anterior", "posterior"),
    regions=(Region("anterior", (1,)), Region("posterior", (2,))),
    channels=(Channel("MRI", "zscore"),),
    ignore_label=-1,
    stratify_by="",
    select_by=("anterior", "posterior"),
    detect=(),
    clean_up=(),
)


def get_config(variant: str = "Task04_Hippocampus") -> ConfigDict:
    """Args: `Task04_Hippocampus`, or the folder of a data set with its dataset.json."""
    if variant == "Task04_Hippocampus":
        task = HIPPOCAMPUS
    elif Path(variant).is_dir():
        task = decathlon.read_task(variant)
    else:
        raise ValueError(f"variant {variant!r}: expected Task04_Hippocampus, or the folder of a data set")
    config = base_config()
    config.name = f"decathlon:{Path(variant).name}"
    config.task = ConfigDict(task.to_config())
    classes = len(task.classes)

    config.model.in_channels = len(task.channels)
    config.model.num_classes = classes
    config.model.block_layers = (3, 4, 8, 6)
    config.model.growth_rate = 16
    config.model.bottleneck = 64
    config.model.stem_channels = 32
    config.model.decoder_channels = (96, 64, 48, 32, 16)
    config.model.bn_momentum = 0.95

    # Every class counts alike; a patch holds about as many voxels of each as of any other.
    config.loss.cross_entropy.class_weights = (1.0,) * classes
    config.loss.focal.class_weights = (1.0,) * classes
    config.loss.dice.weight = 1.0
    config.optimizer.learning_rate = 0.05
    config.optimizer.momentum = 0.9
    config.optimizer.schedule = "polynomial"
    config.optimizer.lr_floor = 0.0

    # A patch holds a whole case; the network's stride is (4, 32, 32).
    config.data.patch_size = (40, 64, 64)
    config.data.batch_size = 4
    config.data.centre_share = (1.0, *(0.0,) * (classes - 1))
    config.data.scale_axes = "all"
    config.data.mirror_probability = (0.0, 0.0, 0.0)

    config.phases = in_order(train=phase(60))
    config.training.steps_per_epoch = 25
    # Cases are small: whole ones are as cheap as patches.
    config.training.validate_patches = 0
    config.training.validate_cases = 0
    return config
