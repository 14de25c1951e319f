"""Shapes of the convolutions in the network of a config."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

# Input shape (D, H, W, C), output channels, stride.
ConvolutionCase = tuple[tuple[int, ...], int, tuple[int, int, int]]


def depthwise_cases(config: Mapping[str, Any]) -> list[ConvolutionCase]:
    """Of each block's layers and of each transition."""
    model = config["model"]
    depth, height, width = (side // 4 for side in config["data"]["patch_size"])
    cases: list[ConvolutionCase] = []
    channels = model["stem_channels"]
    for number, layers in enumerate(model["block_layers"], start=1):
        wide = model["bottleneck"]
        cases.append(((depth, height, width, wide), wide, (1, 1, 1)))
        channels += layers * model["growth_rate"]
        if number < len(model["block_layers"]):
            channels = math.floor(channels * model["compression"])
            cases.append(((depth, height, width, channels), channels, (1, 2, 2)))
            height, width = height // 2, width // 2
    return cases


def decoder_cases(config: Mapping[str, Any]) -> list[ConvolutionCase]:
    """Of each decoder stage's convolution."""
    model = config["model"]
    depth, height, width = config["data"]["patch_size"]
    channels = model["stem_channels"]
    for number, layers in enumerate(model["block_layers"], start=1):
        channels += layers * model["growth_rate"]
        if number < len(model["block_layers"]):
            channels = math.floor(channels * model["compression"])
    stages = model["decoder_channels"]
    cases: list[ConvolutionCase] = []
    for number, features in enumerate(stages, start=1):
        left = len(stages) - number
        sides = (depth // 2 ** min(left, 2), height // 2**left, width // 2**left)
        cases.append(((*sides, channels), features, (1, 1, 1)))
        channels = features
    return cases
