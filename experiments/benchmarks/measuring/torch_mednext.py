"""MedNeXt in PyTorch, as its authors have it; modules carry the names that `peer_weights` gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Depthwise, norm of each channel by itself, 1^3 conv, GELU, 1^3 conv; plus the input.

    Args:
        channels: of the input.
        features: of the output.
        expansion: hidden channels as a multiple of the input's.
        model: `config.model`.
        resample: `down` and `up` halve and double the sides, with a 1^3 convolution of the input to add.
    """

    def __init__(
        self, channels: int, features: int, expansion: int, model: Mapping[str, Any], resample: str = ""
    ):
        super().__init__()
        size, hidden = model["kernel_size"], expansion * channels
        kind: Any = nn.ConvTranspose3d if resample == "up" else nn.Conv3d
        stride = 2 if resample else 1
        self.depthwise = kind(channels, channels, size, stride, size // 2, groups=channels)
        self.norm = nn.GroupNorm(channels, channels, eps=model["norm_epsilon"])
        self.expand = nn.Conv3d(channels, hidden, 1)
        self.project = nn.Conv3d(hidden, features, 1)
        self.resample = resample
        if resample:
            self.residual = kind(channels, features, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the sum."""
        y = self.project(functional.gelu(self.expand(self.norm(self.depthwise(x)))))
        if not self.resample:
            return x + y
        residual = self.residual(x)
        if self.resample == "up":
            y, residual = (functional.pad(part, (1, 0, 1, 0, 1, 0)) for part in (y, residual))
        return y + residual


class Stage(nn.Module):
    """Residual blocks, one after the other."""

    def __init__(self, stage: int, channels: int, model: Mapping[str, Any]):
        super().__init__()
        expansion = model["expansion"][stage]
        for number in range(model["blocks"][stage]):
            self.add_module(f"block{number}", Block(channels, channels, expansion, model))

    def forward(self, x: Tensor) -> Tensor:
        """Returns a map of the input's shape."""
        for block in self.children():
            x = block(x)
        return x


class MedNeXt(nn.Module):
    """The network of `config.model` without auxiliary outputs, (B, C, D, H, W) in and out."""

    def __init__(self, model: Mapping[str, Any]):
        super().__init__()
        width, expansion = model["width"], model["expansion"]
        self.levels = levels = len(model["blocks"]) // 2
        self.stem = nn.Conv3d(model["in_channels"], width, 1)
        for level in range(levels):
            fine = width * 2**level
            self.add_module(f"encoder{level}", Stage(level, fine, model))
            self.add_module(f"down{level}", Block(fine, 2 * fine, expansion[level + 1], model, "down"))
            stage = 2 * levels - level
            self.add_module(f"up{level}", Block(2 * fine, fine, expansion[stage], model, "up"))
            self.add_module(f"decoder{level}", Stage(stage, fine, model))
        self.bottleneck = Stage(levels, width * 2**levels, model)
        self.head = nn.Conv3d(width, model["num_classes"], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        x = self.stem(x)
        skips = []
        for level in range(self.levels):
            skips.append(self.get_submodule(f"encoder{level}")(x))
            x = self.get_submodule(f"down{level}")(skips[-1])
        x = self.bottleneck(x)
        for level in reversed(range(self.levels)):
            x = self.get_submodule(f"up{level}")(x) + skips[level]
            x = self.get_submodule(f"decoder{level}")(x)
        return self.head(x)
