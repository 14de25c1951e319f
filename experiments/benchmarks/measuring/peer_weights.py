"""The weights of a Flax network as the same network in PyTorch has them: which module each belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dsdenseunet.models.dense_block import layer_sizes, unstack

Modules = Mapping[str, Any]


def for_peer(modules: Modules, model_config: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of a collection of variables, or of their gradients, by PyTorch's modules.

    Args:
        modules: nested, as the Flax network has them.
        model_config: `config.model`, of a family that has a network in PyTorch.
    """
    return _FAMILIES[model_config["family"]](modules, model_config)


def _dense_unet(modules: Modules, model_config: Mapping[str, Any]) -> dict[str, Any]:
    """`block1/norm1/scale` of all layers becomes `block1/layer01/norm1/scale`, and so on."""
    growth_rate = model_config["growth_rate"]
    result = {}
    for name, weights in modules.items():
        if name.startswith("block"):
            count, rows = len(_first(weights["norm2"])), _first(weights["norm1"]).size
            in_channels = (rows - sum(layer_sizes(0, count, growth_rate))) // count
            layers = unstack(weights, layer_sizes(in_channels, count, growth_rate))
            result[name] = {f"layer{i:02d}": layer for i, layer in enumerate(layers, start=1)}
        else:
            result[name] = weights
    return result


def _first(values: Mapping[str, np.ndarray]) -> np.ndarray:
    return next(iter(values.values()))


def _mednext(modules: Modules, model_config: Mapping[str, Any]) -> dict[str, Any]:
    """`encoder0/norm/scale` of all blocks becomes `encoder0/block0/norm/scale`, and so on."""
    del model_config
    result = {}
    for name, weights in modules.items():
        if name.startswith(("encoder", "bottleneck", "decoder")):
            blocks = range(len(_first(weights["norm"])))
            result[name] = {
                f"block{block}": {
                    part: {leaf: array[block] for leaf, array in arrays.items()}
                    for part, arrays in weights.items()
                }
                for block in blocks
            }
        else:
            result[name] = weights
    return result


def _unet(modules: Modules, model_config: Mapping[str, Any]) -> dict[str, Any]:
    """The 1^3 convolution to eight voxels side by side, and its bias, become a transposed one of 2^3."""
    del model_config
    result = {}
    for name, weights in modules.items():
        if name.startswith("up"):
            columns = weights["up"]["kernel"][0, 0, 0]
            kernel = columns.reshape(len(columns), 2, 2, 2, -1).transpose(1, 2, 3, 0, 4)
            up = {"kernel": kernel, "bias": weights["bias"]}
            result[name] = {"up": up, "stage": weights["stage"]}
        else:
            result[name] = weights
    return result


_FAMILIES: dict[str, Callable[[Modules, Mapping[str, Any]], dict[str, Any]]] = {
    "dense_unet": _dense_unet,
    "mednext": _mednext,
    "unet": _unet,
}
