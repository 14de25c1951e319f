"""Shapes of the convolutions in the network of a config."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from dsdenseunet.core.words import by

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


class DepthwiseCase(NamedTuple):
    """A depthwise convolution.

    Attributes:
        shape: of the input, (D, H, W, C).
        stride: along (D, H, W).
        size: side of the kernel.
        transposed: of its output, as `transposed_depthwise_conv`.
    """

    shape: tuple[int, ...]
    stride: tuple[int, int, int]
    size: int
    transposed: bool

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Of the output, (D, H, W, C)."""
        *sides, channels = self.shape
        pairs = zip(sides, self.stride)
        return (*((n - 1) * s + 1 if self.transposed else -(-n // s) for n, s in pairs), channels)

    @property
    def in_words(self) -> str:
        """Such as "32 x 32 x 32, 64 transposed by 2 x 2 x 2, k3"."""
        *sides, channels = self.shape
        words = [f"{by(sides)}, {channels}"]
        words += ["transposed"] * self.transposed
        words += [f"by {by(self.stride)}"] * (set(self.stride) != {1})
        return f"{' '.join(words)}, k{self.size}"


def mednext_cases(config: Mapping[str, Any]) -> list[DepthwiseCase]:
    """Of each stage above the bottleneck: its blocks', the halving one's, and the doubling one's into it."""
    model, size = config["model"], config["model"]["kernel_size"]
    maps = [
        (*(side // 2**level for side in config["data"]["patch_size"]), model["width"] * 2**level)
        for level in range(len(model["blocks"]) // 2 + 1)
    ]
    cases = []
    for fine, coarse in itertools.pairwise(maps):
        cases.append(DepthwiseCase(fine, (1, 1, 1), size, False))
        cases.append(DepthwiseCase(fine, (2, 2, 2), size, False))
        cases.append(DepthwiseCase(coarse, (2, 2, 2), size, True))
    return cases
