"""From a config to a network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from dsdenseunet.core import fields
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.fields import refusal
from dsdenseunet.models.cicek_unet import CicekUNet
from dsdenseunet.models.dense_unet import DenseUNet3D
from dsdenseunet.models.h_dense_unet.alone import DenseUNetAlone
from dsdenseunet.models.h_dense_unet.hybrid import HDenseUNet
from dsdenseunet.models.kaluva import KaluvaNet
from dsdenseunet.models.mednext import MedNeXt
from dsdenseunet.models.network import Network
from dsdenseunet.models.ra_unet import RAUNet
from dsdenseunet.models.residual_unet import ResidualUNet
from dsdenseunet.models.separable_unet import SeparableUNet
from dsdenseunet.models.unet import UNet

FAMILIES: dict[str, type[Network]] = {
    "cicek_unet": CicekUNet,
    "dense_unet": DenseUNet3D,
    "dense_unet_alone": DenseUNetAlone,
    "h_dense_unet": HDenseUNet,
    "kaluva": KaluvaNet,
    "mednext": MedNeXt,
    "ra_unet": RAUNet,
    "residual_unet": ResidualUNet,
    "separable_unet": SeparableUNet,
    "unet": UNet,
}


def build(model_config: Mapping[str, Any]) -> Network:
    """Builds the network that `config.model` describes.

    Args:
        model_config: `family` and the fields of that family's module.

    Raises:
        InputError: an unknown family, or a field with a value that it cannot take.
    """
    check_fields(model_config)
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list | tuple) else v for k, v in model_config.items()
    }
    family = str(values.pop("family"))
    return FAMILIES[family](**values)


def check_fields(model_config: Mapping[str, Any]) -> None:
    """Refuses what makes no network: a family, a field or a value that does not exist.

    Raises:
        InputError: the first one.
    """
    family = model_config.get("family", "missing")
    if not isinstance(family, str) or family not in FAMILIES:
        raise InputError(
            "config.model.family",
            found=repr(family),
            expected=f"one of {', '.join(FAMILIES)}",
            fix="name a known family, or add yours to dsdenseunet/models/registry.py",
        )
    network = FAMILIES[family]
    known = {field.name: field for field in dataclasses.fields(network) if field.init}
    names = set(known) - {"parent", "name"}
    for name in sorted(set(model_config) - names - {"family"}):
        close = fields.nearest(name, names)
        expected = f"config.model.{close}" if close else f"a field of {family}"
        raise refusal(f"model.{name}", f"a field that does not exist (= {model_config[name]!r})", expected)
    # What has a default and no check may be left out.
    needed = set(network.checks) | {name for name in names if known[name].default is dataclasses.MISSING}
    for name in sorted(needed - set(model_config)):
        raise refusal(f"model.{name}", "missing", "the field, as configs/base.py has it")
    for name, check in network.checks.items():
        if wanted := check(model_config[name]):
            raise refusal(f"model.{name}", repr(model_config[name]), wanted)
    network.check_together(model_config)


def check_patch(
    stride: Sequence[int], patch_size: Sequence[int], where: str = "config.data.patch_size"
) -> None:
    """Refuses a patch (D, H, W), given by `where`, that the network's `stride` does not divide.

    Raises:
        InputError: names the nearest sizes that fit.
    """
    if len(patch_size) != 3:
        raise InputError(
            where,
            found=f"{tuple(patch_size)}, {len(patch_size)} numbers",
            expected="3 numbers, (D, H, W)",
            fix="give depth, height and width in voxels",
        )
    if any(p <= 0 or p % s for p, s in zip(patch_size, stride)):
        below = tuple(max(p // s, 1) * s for p, s in zip(patch_size, stride))
        above = tuple(max(math.ceil(p / s), 1) * s for p, s in zip(patch_size, stride))
        raise InputError(
            where,
            found=f"{tuple(patch_size)}",
            expected=f"sides that are multiples of {tuple(stride)} (D, H, W)",
            fix=f"the nearest that fit are {below} and {above}",
        )
