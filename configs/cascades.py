"""Networks one after the other, each within what the one before it finds, by one command.

    python -m experiments.train --config=configs/cascades.py:ra_unet --workdir=runs/ra_unet
    python -m experiments.predict --workdir=runs/ra_unet --input=scans --output=predictions

`NAME.STAGE`, such as `ra_unet.liver`, is the config of one stage: for describe and plan_memory. None has been
run to its end yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from configs.base import base_config, in_order, phase
from configs.table_one import get_config as network
from dsdenseunet.tasks.lits import TASK
from dsdenseunet.tasks.part import part_of

# Fields of `data` that all stages of a cascade have in common.
_COMMON = ("cache", "folds", "fold", "fold_seed", "same_patient", "fold_file", "explicit")


def stage(variant: str, regions: tuple[str, ...], within: str = "", margin_mm: float = 0.0) -> ConfigDict:
    """One stage: a config of table_one.py for some regions of LiTS, one class each.

    Args:
        variant: its name there.
        regions: what it segments.
        within: the region that it looks within: the labelled one in training, in a prediction the one that
            an earlier stage has found. "": the whole scan.
        margin_mm: around the region's box, on each side.
    """
    config = network(variant)
    channels = config.task.channels
    config.task = ConfigDict({**part_of(TASK, regions).to_config(), "channels": channels})
    config.model.num_classes = 1 + len(regions)
    for term in ("cross_entropy", "focal"):
        config.loss[term].class_weights = (1.0,) * config.model.num_classes
    del config.name, config.seed
    for field in _COMMON:
        del config.data[field]
    config.within, config.margin_mm = within, margin_mm
    return config


def cascade(name: str, **stages: ConfigDict) -> ConfigDict:
    """A config of several stages, in the order in which they are given."""
    base = base_config()
    config = ConfigDict({"name": f"cascades:{name}", "seed": base.seed, "task": TASK.to_config()})
    config.data = ConfigDict({field: base.data[field] for field in _COMMON})
    config.stages = in_order(**stages)
    return config


def ra_unet() -> ConfigDict:
    """Jin et al.: RA-UNet-I finds the liver, RA-UNet-II segments it, another one the tumours inside it.

    Thresholds are theirs, 0.6 for the liver and 0.5 for tumours; the liver is the largest piece. They train
    each network by soft Dice and Adam, on 32 slices of the labelled liver's box and a margin of ten voxels,
    here 10 mm. Six patches of seven are centred on a tumour, if the case has one. Not as there, beside
    optimisation (table_one.py's `jin`): images keep their own voxels, where they zoom slices to 256 x 256 and
    boxes to 224 x 224; patches of tumours are 32 x 128 x 128 in prediction too, where theirs are 64^3; folds
    are averaged only if their runs are named together.
    """
    localise = stage("ra_unet_2d_authors", ("liver",))
    localise.data.centre_share = (0.5, 0.5)
    localise.task.clean_up = (("largest", "liver"),)
    liver = stage("ra_unet_authors", ("liver",), within="liver", margin_mm=10.0)
    liver.data.centre_share = (1.0, 0.0)
    liver.task.clean_up = (("largest", "liver"),)
    liver.inference.thresholds = (0.6,)
    tumour = stage("ra_unet_authors", ("tumour",), within="liver", margin_mm=10.0)
    tumour.data.patch_size = (32, 128, 128)
    tumour.data.batch_size = 6
    tumour.data.centre_share = (1 / 7, 6 / 7)
    tumour.phases = in_order(train=phase(60))
    tumour.inference.overlap = 0.5
    tumour.inference.thresholds = (0.5,)
    return cascade("ra_unet", localise=localise, liver=liver, tumour=tumour)


def kaluva() -> ConfigDict:
    """Kaluva et al.: a 2D network for the liver on halved slices, then one for tumours on whole ones.

    The second sees three windows of Hounsfield units, within the liver that the first finds. Depths, widths,
    losses and clean-up of the paper are not known: both are the network, and have the training, of the same
    group's earlier release (table_one.py's `kaluva`), with its weights of liver and tumour. A margin of 10 mm
    and the patch of 256 x 256 within it are ours.
    """
    liver = stage("kaluva_authors", ("liver",))
    liver.loss.cross_entropy.class_weights = (1.0, 5.0)
    liver.data.centre_share = (0.0, 1.0)
    liver.task.clean_up = (("largest", "liver"),)
    tumour = stage("kaluva_whole_authors", ("tumour",), within="liver", margin_mm=10.0)
    tumour.loss.cross_entropy.class_weights = (1.0, 15.0)
    tumour.data.patch_size = (1, 256, 256)
    tumour.data.centre_share = (0.5, 0.5)
    return cascade("kaluva", liver=liver, tumour=tumour)


CASCADES: dict[str, Callable[[], ConfigDict]] = {"ra_unet": ra_unet, "kaluva": kaluva}


def get_config(variant: str = "ra_unet") -> ConfigDict:
    """Args: a name of `CASCADES`, or one followed by a dot and a stage."""
    name, _, part = variant.partition(".")
    if name not in CASCADES:
        raise ValueError(f"variant {variant!r}: expected one of {', '.join(CASCADES)}")
    config = CASCADES[name]()
    if not part:
        return config
    if part not in config.stages.order:
        raise ValueError(f"stage {part!r}: expected one of {', '.join(config.stages.order)}")
    return alone(config, part)


def alone(config: ConfigDict, part: str) -> ConfigDict:
    """The whole config of one stage."""
    values: dict[str, Any] = config.stages[part].to_dict()
    del values["within"], values["margin_mm"]
    values["data"] |= config.data.to_dict()
    return ConfigDict({**values, "name": f"{config.name}.{part}", "seed": config.seed})
