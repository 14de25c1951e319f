"""From a config to a network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from flax import linen as nn

from dsdenseunet.core import fields
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.fields import Check, choice, integer, number, refusal, sequence, truth
from dsdenseunet.models.dense_unet import LINKS, REMATS, DenseUNet3D

FAMILIES: dict[str, type[nn.Module]] = {"dense_unet": DenseUNet3D}

# What a family's fields may be; the network itself says which fields it has.
_CHECKS: dict[str, Mapping[str, Check]] = {
    "dense_unet": {
        "in_channels": integer(1),
        "num_classes": integer(2),
        "block_layers": sequence(integer(1), shortest=1),
        "growth_rate": integer(1),
        "bottleneck": integer(1),
        "stem_channels": integer(1),
        "compression": number(above=0, high=1),
        "decoder_channels": sequence(integer(1)),
        "separable": truth,
        "link": choice(*LINKS),
        "bn_momentum": number(low=0, below=1),
        "bn_epsilon": number(above=0),
        "dtype": choice("float32", "bfloat16"),
        "remat": choice(*REMATS),
    }
}


def build(model_config: Mapping[str, Any]) -> nn.Module:
    """Builds the network that `config.model` describes.

    Args:
        model_config: `family` and the fields of that family's module.

    Raises:
        InputError: an unknown family, or a field with a value that it cannot take.
    """
    check_fields(model_config)
    values = {k: tuple(v) if isinstance(v, list | tuple) else v for k, v in model_config.items()}
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
    known = {field.name: field for field in dataclasses.fields(FAMILIES[family]) if field.init}
    names = set(known) - {"parent", "name"}
    for name in sorted(set(model_config) - names - {"family"}):
        close = fields.nearest(name, names)
        expected = f"config.model.{close}" if close else f"a field of {family}"
        raise refusal(f"model.{name}", f"a field that does not exist (= {model_config[name]!r})", expected)
    checks = _CHECKS.get(family, {})
    # Of a family without checks here, what its network has a default for may be left out.
    needed = set(checks) | {name for name in names if known[name].default is dataclasses.MISSING}
    for name in sorted(needed - set(model_config)):
        raise refusal(f"model.{name}", "missing", "the field, as configs/base.py has it")
    for name, check in checks.items():
        if wanted := check(model_config[name]):
            raise refusal(f"model.{name}", repr(model_config[name]), wanted)
    if family == "dense_unet":
        _check_dense_unet(model_config)


def _check_dense_unet(values: Mapping[str, Any]) -> None:
    blocks, stages = len(values["block_layers"]), len(values["decoder_channels"])
    if stages != blocks + 1:
        raise InputError(
            "config.model.decoder_channels",
            found=f"{stages} stages",
            expected=f"{blocks + 1}, one more than the {blocks} dense blocks",
            fix="change decoder_channels or block_layers",
        )
    channels = values["stem_channels"]
    for layers in values["block_layers"][:-1]:
        channels = math.floor((channels + layers * values["growth_rate"]) * values["compression"])
        if not channels:
            raise refusal(
                "model.compression", f"{values['compression']}: no channel is left", "a larger share"
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
