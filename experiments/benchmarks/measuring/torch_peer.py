"""3D-DenseUNet in PyTorch, and weights onto this and its other networks.

Modules carry the names that `peer_weights` gives, so that weights are copied by name.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class DenseLayer(nn.Module):
    """BN, ReLU, 1^3 conv; BN, ReLU, depthwise; BN, ReLU, pointwise (or BN, ReLU, full 3^3 conv)."""

    def __init__(self, in_channels: int, model: Mapping[str, Any]):
        super().__init__()
        wide, growth = model["bottleneck"], model["growth_rate"]
        self.norm1 = _norm(in_channels, model)
        self.conv1 = nn.Conv3d(in_channels, wide, 1)
        self.norm2 = _norm(wide, model)
        self.separable = model["separable"]
        if self.separable:
            self.depthwise = nn.Conv3d(wide, wide, 3, padding=1, groups=wide)
            self.norm3 = _norm(wide, model)
            self.pointwise = nn.Conv3d(wide, growth, 1, bias=False)
        else:
            self.conv2 = nn.Conv3d(wide, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the new channels."""
        x = self.conv1(_relu(self.norm1(x)))
        x = _relu(self.norm2(x))
        if self.separable:
            return self.pointwise(_relu(self.norm3(self.depthwise(x))))
        return self.conv2(x)


class DenseBlock(nn.Module):
    """Each layer is fed with the concatenation of the block's input and all earlier outputs."""

    def __init__(self, in_channels: int, layers: int, model: Mapping[str, Any]):
        super().__init__()
        for i in range(layers):
            self.add_module(f"layer{i + 1:02d}", DenseLayer(in_channels + i * model["growth_rate"], model))

    def forward(self, x: Tensor) -> Tensor:
        """Returns input and all new channels."""
        for layer in self.children():
            x = torch.cat([x, layer(x)], 1)
        return x


class Transition(nn.Module):
    """BN, ReLU, compressing 1^3 conv, 3^3 conv with stride (1, 2, 2)."""

    def __init__(self, in_channels: int, features: int, model: Mapping[str, Any]):
        super().__init__()
        self.norm = _norm(in_channels, model)
        self.conv = nn.Conv3d(in_channels, features, 1, bias=False)
        groups = features if model["separable"] else 1
        self.reduce = nn.Conv3d(features, features, 3, stride=(1, 2, 2), padding=1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Halves H and W."""
        return self.reduce(self.conv(_relu(self.norm(x))))


class ConvNorm(nn.Module):
    """Conv, BN, ReLU: the stem and, after upsampling and link, a decoder stage."""

    def __init__(self, conv: nn.Conv3d, model: Mapping[str, Any]):
        super().__init__()
        self.conv = conv
        self.norm = _norm(conv.out_channels, model)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normalised map."""
        return _relu(self.norm(self.conv(x)))


class Head(nn.Module):
    """BN, ReLU, 1^3 conv to the classes."""

    def __init__(self, in_channels: int, model: Mapping[str, Any]):
        super().__init__()
        self.norm = _norm(in_channels, model)
        self.conv = nn.Conv3d(in_channels, model["num_classes"], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        return self.conv(_relu(self.norm(x)))


class DenseUNet3D(nn.Module):
    """The network of `config.model` (UNet link `add`), (B, C, D, H, W) in and out."""

    def __init__(self, model: Mapping[str, Any]):
        super().__init__()
        if model["link"] != "add" or model["family"] != "dense_unet":
            raise ValueError("the PyTorch network has the family dense_unet with link = add only")
        channels = model["stem_channels"]
        stem = nn.Conv3d(model["in_channels"], channels, 7, stride=2, padding=3, bias=False)
        self.stem = ConvNorm(stem, model)
        self.blocks = len(model["block_layers"])
        for number, layers in enumerate(model["block_layers"], start=1):
            self.add_module(f"block{number}", DenseBlock(channels, layers, model))
            channels += layers * model["growth_rate"]
            if number < self.blocks:
                features = math.floor(channels * model["compression"])
                self.add_module(f"transition{number}", Transition(channels, features, model))
                channels = features
        self.norm = _norm(channels, model)
        for number, features in enumerate(model["decoder_channels"], start=1):
            conv = nn.Conv3d(channels, features, 3, padding=1)
            self.add_module(f"up{number}", ConvNorm(conv, model))
            channels = features
        self.head = Head(channels, model)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        x = self.stem(x)
        skips = [x]
        x = functional.max_pool3d(x, 3, stride=2, padding=1)
        for number in range(1, self.blocks + 1):
            x = self.get_submodule(f"block{number}")(x)
            if number < self.blocks:
                skips.append(x)
                x = self.get_submodule(f"transition{number}")(x)
        x = _relu(self.norm(x))
        for number in range(1, self.blocks + 2):
            depth = 2 if number > self.blocks - 1 else 1
            x = functional.interpolate(x, scale_factor=(depth, 2, 2), mode="trilinear", align_corners=False)
            if skips:
                skip = skips.pop()
                shared = min(x.shape[1], skip.shape[1])
                x[:, :shared] += skip[:, :shared]
            x = self.get_submodule(f"up{number}")(x)
        return self.head(x)


def _norm(channels: int, model: Mapping[str, Any]) -> nn.BatchNorm3d:
    # PyTorch's momentum is the share of the new value.
    return nn.BatchNorm3d(channels, eps=model["bn_epsilon"], momentum=1 - model["bn_momentum"])


def _relu(x: Tensor) -> Tensor:
    return functional.relu(x, inplace=True)


def copy_weights(network: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Copies variables, which `peer_weights` has named, onto a network of equal names.

    Raises:
        ValueError: a tensor without an array, or an array without a tensor.
    """
    names = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    tensors = dict(itertools.chain(network.named_parameters(), network.named_buffers()))
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    with torch.no_grad():
        for path, array in weights.items():
            *modules, leaf = path.split("/")[1:]
            name = ".".join([*modules, names.get(leaf, leaf)])
            if name not in tensors:
                raise ValueError(f"{path}: the network has no {name}")
            if leaf == "kernel":
                module = network.get_submodule(".".join(modules))
                transposed = isinstance(module, nn.ConvTranspose3d) and module.groups == 1
                array = torch_kernel(array.swapaxes(3, 4) if transposed else array)
            tensors.pop(name).copy_(torch.from_numpy(array))
    if tensors:
        raise ValueError(f"no weights for {sorted(tensors)}")


def torch_kernel(kernel: np.ndarray) -> np.ndarray:
    """(kd, kh, kw, C_in, C_out) -> (C_out, C_in, kd, kh, kw)."""
    return np.ascontiguousarray(kernel.transpose(4, 3, 0, 1, 2))
