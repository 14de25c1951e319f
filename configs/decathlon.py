"""Data sets of the Medical Segmentation Decathlon, each from its own folder.

python -m experiments.prepare --data=Task04_Hippocampus --cache=cache
python -m experiments.train --config=configs/decathlon.py:Task04_Hippocampus --workdir=runs/hippocampus
python -m experiments.predict --workdir=runs/hippocampus --input=Task04_Hippocampus --output=predictions
python -m experiments.evaluate --predictions=predictions --references=Task04_Hippocampus/labelsTr --out=scores

`Task04_Hippocampus` is known here. After the colon may also stand the folder of any other data set: its
dataset.json then says what is segmented, and the network is the hippocampus's, which is told besides where in
the patch a voxel lies: the family `separable_unet`, one patch a step; Muon on the matrices, Adam on the rest.

docs/results/comparison_hippocampus.json has what comes of it in 2, 5 and 15 minutes of one core, by
--config.training.budget_seconds.
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

    # docs/reference/networks/ says what each field means.
    config.model = ConfigDict(
        {
            "family": "separable_unet",
            "in_channels": len(task.channels),
            "num_classes": classes,
            "widths": (24, 96),
            "encoder_blocks": (0, 5),
            "decoder_blocks": (1,),
            "expansion": 2,
            "image_link": True,
            # A patch holds nearly all of an image, and what lies where in it is much the same in all.
            "places": task is HIPPOCAMPUS,
            "norm_epsilon": 1e-5,
            # Of the hippocampus's voxels.
            "foreground_share": 0.06,
            "dtype": "float32",
            "remat": "none",
            "auxiliary_outputs": 0,
        }
    )
    # Every class counts alike.
    config.loss.cross_entropy.class_weights = (1.0,) * classes
    config.loss.focal.class_weights = (1.0,) * classes
    config.loss.dice.weight = 1.0

    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 8e-3
    config.optimizer.momentum = 0.9
    config.optimizer.muon_scale = 5.6
    config.optimizer.muon_parameters = tuple(
        f"params/{part}*" for part in ("down", "encoder", "up", "decoder")
    )
    config.optimizer.beta2 = 0.99
    config.optimizer.weight_decay = 0.01
    config.optimizer.clip_norm = 1.0
    config.optimizer.schedule = "cosine"
    config.optimizer.warm_up_steps = 125
    config.optimizer.lr_floor = 0.0

    # A patch holds most of a case, wherever it lies.
    config.data.patch_size = (32, 48, 32)
    config.data.centre_share = (1.0, *(0.0,) * (classes - 1))
    config.data.scale_range = (1.0, 1.0)
    config.data.mirror_probability = (0.0, 0.0, 0.0)
    config.augment.rotation.probability = 0.8
    config.augment.scaling.probability = 0.8
    config.augment.brightness.probability = 0.5
    config.augment.contrast.probability = 0.5
    config.augment.contrast.range = (0.9, 1.1)

    config.phases = in_order(train=phase(25))
    config.training.steps_per_epoch = 100
    # The rate falls to 0, so that the last weights are the best: none before them are a candidate.
    config.training.validate_epochs = 0
    # Cases are small: whole ones are as cheap as patches.
    config.training.validate_patches = 0
    config.training.validate_cases = 0
    return config
