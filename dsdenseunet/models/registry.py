"""From a config to a network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from flax import linen as nn

from dsdenseunet.errors import InputError
from dsdenseunet.models.dense_unet import LINKS, REMATS, DenseUNet3D

FAMILIES: dict[str, type[nn.Module]] = {"dense_unet": DenseUNet3D}


def build(model_config: Mapping[str, Any]) -> nn.Module:
    """Builds the network that `config.model` describes.

    Args:
        model_config: `family` and the fields of that family's module.

    Raises:
        InputError: an unknown family, or a field with a value that it cannot take.
    """
    fields = {k: tuple(v) if isinstance(v, list | tuple) else v for k, v in model_config.items()}
    family = fields.pop("family")
    if family not in FAMILIES:
        raise InputError(
            "config.model.family",
            found=repr(family),
            expected=f"one of {', '.join(FAMILIES)}",
            fix="name a known family, or add yours to dsdenseunet/models/registry.py",
        )
    if family == "dense_unet":
        _check_dense_unet(fields)
    return FAMILIES[family](**fields)


def _check_dense_unet(fields: Mapping[str, Any]) -> None:
    _check_choice("link", fields, LINKS)
    _check_choice("remat", fields, REMATS)
    _check_choice("dtype", fields, ("float32", "bfloat16"))
    blocks, stages = len(fields["block_layers"]), len(fields["decoder_channels"])
    if stages != blocks + 1:
        raise InputError(
            "config.model.decoder_channels",
            found=f"{stages} stages",
            expected=f"{blocks + 1}, one more than the {blocks} dense blocks",
            fix="change decoder_channels or block_layers",
        )


def _check_choice(name: str, fields: Mapping[str, Any], choices: Sequence[str]) -> None:
    if fields[name] not in choices:
        raise InputError(
            f"config.model.{name}",
            found=repr(fields[name]),
            expected=f"one of {', '.join(choices)}",
            fix=f"set config.model.{name} to one of them",
        )


def check_patch(stride: Sequence[int], patch_size: Sequence[int]) -> None:
    """Refuses a patch (D, H, W) that the network's `stride` does not divide.

    Raises:
        InputError: names the nearest sizes that fit.
    """
    if len(patch_size) != 3:
        raise InputError(
            "config.data.patch_size",
            found=f"{tuple(patch_size)}, {len(patch_size)} numbers",
            expected="3 numbers, (D, H, W)",
            fix="give depth, height and width in voxels",
        )
    if any(p <= 0 or p % s for p, s in zip(patch_size, stride)):
        below = tuple(max(p // s, 1) * s for p, s in zip(patch_size, stride))
        above = tuple(max(math.ceil(p / s), 1) * s for p, s in zip(patch_size, stride))
        raise InputError(
            "config.data.patch_size",
            found=f"{tuple(patch_size)}",
            expected=f"sides that are multiples of {tuple(stride)} (D, H, W)",
            fix=f"the nearest that fit are {below} and {above}",
        )
