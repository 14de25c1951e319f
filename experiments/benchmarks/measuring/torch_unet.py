"""nnU-Net's plain U-Net in PyTorch; modules carry the names that `peer_weights` gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_SLOPE = 0.01


class Stage(nn.Module):
    """Convolutions 3^3, each followed by instance norm and leaky ReLU; the first has the stride."""

    def __init__(self, channels: int, features: int, count: int, stride: int, model: Mapping[str, Any]):
        super().__init__()
        self.count = count
        for index in range(1, count + 1):
            conv = nn.Conv3d(channels, features, 3, stride if index == 1 else 1, padding=1)
            norm = nn.InstanceNorm3d(features, eps=model["norm_epsilon"], affine=True)
            self.add_module(f"conv{index}", conv)
            self.add_module(f"norm{index}", norm)
            channels = features

    def forward(self, x: Tensor) -> Tensor:
        """Returns the last map."""
        for index in range(1, self.count + 1):
            x = self.get_submodule(f"norm{index}")(self.get_submodule(f"conv{index}")(x))
            x = functional.leaky_relu(x, _SLOPE, inplace=True)
        return x


class Up(nn.Module):
    """Transposed 2^3 convolution with stride 2; the encoder's map beside it; convolutions."""

    def __init__(self, channels: int, features: int, count: int, model: Mapping[str, Any]):
        super().__init__()
        self.up = nn.ConvTranspose3d(channels, features, 2, 2)
        self.stage = Stage(2 * features, features, count, 1, model)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Returns a map of the skip's sides."""
        return self.stage(torch.cat([self.up(x), skip], 1))


class UNet(nn.Module):
    """The network of `config.model` without auxiliary outputs, (B, C, D, H, W) in and out."""

    def __init__(self, model: Mapping[str, Any]):
        super().__init__()
        channels, widths = model["in_channels"], model["widths"]
        self.levels = len(widths)
        for level, (width, count) in enumerate(zip(widths, model["encoder_convs"], strict=True)):
            stride = 2 if level else 1
            self.add_module(f"encoder{level}", Stage(channels, width, count, stride, model))
            channels = width
        for level in reversed(range(self.levels - 1)):
            width, count = widths[level], model["decoder_convs"][level]
            self.add_module(f"up{level}", Up(channels, width, count, model))
            channels = width
        self.head = nn.Conv3d(channels, model["num_classes"], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        maps = []
        for level in range(self.levels):
            x = self.get_submodule(f"encoder{level}")(x)
            maps.append(x)
        x = maps.pop()
        for level in reversed(range(self.levels - 1)):
            x = self.get_submodule(f"up{level}")(x, maps[level])
        return self.head(x)
