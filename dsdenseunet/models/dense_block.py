"""Dense blocks: their parameters, and their layers run by `dense_layers`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from dsdenseunet.models.dense_layers import Weights, run_layers, train_layers
from dsdenseunet.models.layers import BatchNormReLU, Conv, NormSettings, convolution
from dsdenseunet.models.network import Operation
from dsdenseunet.ops.cpu.ragged import pad_rows, split_rows


class FirstConvs(nn.Module):
    """The 1^3 convs of a block's layers, which meet ever more channels: kernels row under row.

    Attributes:
        sizes: input channels of each layer.
        features: output channels of each.
    """

    sizes: tuple[int, ...]
    features: int

    def setup(self) -> None:
        """Declares the parameters."""
        deviation = np.sqrt(2 / row_fan_in(self.sizes))[:, None]

        def init(key: Array, shape: tuple[int, ...]) -> Array:
            return jax.random.normal(key, shape) * deviation.astype(np.float32)

        self.kernel = self.param("kernel", init, (sum(self.sizes), self.features))
        self.bias = self.param("bias", nn.initializers.zeros_init(), (len(self.sizes), self.features))

    def weights(self) -> dict[str, Array]:
        """This module's parameters."""
        return {"kernel": self.kernel, "bias": self.bias}


class DenseBlock(nn.Module):
    """`layers` dense layers, each fed with the concatenation of the block's input and all earlier outputs.

    What all layers have in one shape is held in one array with the layers in front; what meets the growing
    features (first normalisation, first conv) row under row. `unstack` gives each layer's own.

    Attributes:
        in_channels: of the block's input.
        layers: their number.
        growth_rate: channels that each adds.
        bottleneck: channels of the 1^3 conv in a layer.
        separable: depthwise separable or full 3^3 convs.
        batch_norm: of all normalisations.
        remat: compute each layer's convolutions again in the backward pass, instead of keeping their results.
    """

    in_channels: int
    layers: int
    growth_rate: int
    bottleneck: int
    separable: bool
    batch_norm: NormSettings
    remat: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:
        """Input channels of each layer."""
        return layer_sizes(self.in_channels, self.layers, self.growth_rate)

    @property
    def out_channels(self) -> int:
        """Channels of the block's output."""
        return self.in_channels + self.layers * self.growth_rate

    def setup(self) -> None:
        """Declares the parts."""
        wide, growth, count, norm = self.bottleneck, self.growth_rate, self.layers, self.batch_norm
        self.norm1 = BatchNormReLU(sum(self.sizes), norm)
        self.conv1 = FirstConvs(self.sizes, wide)
        self.norm2 = BatchNormReLU(wide, norm, stack=count)
        if self.separable:
            self.depthwise = Conv(wide, wide, depthwise=True, stack=count)
            self.norm3 = BatchNormReLU(wide, norm, stack=count)
            self.pointwise = Conv(wide, growth, (1, 1, 1), use_bias=False, stack=count)
        else:
            self.conv2 = Conv(wide, growth, use_bias=False, stack=count)

    def operations(self) -> list[list[Operation]]:
        """See `Operation`: those of each layer, whose maps no module shows as all layers run as one loop."""
        wide, growth = self.bottleneck, self.growth_rate
        point, cube = (1, 1, 1), (3, 3, 3)
        norm = Operation("BN, ReLU", counted=2)
        if self.separable:
            last = [
                convolution(wide, wide, cube, depthwise=True)._replace(kept=wide),
                norm._replace(counted=0, kept=wide),
                convolution(wide, growth, point)._replace(kept=growth),
            ]
        else:
            last = [convolution(wide, growth, cube)._replace(kept=growth)]
        return [
            [
                norm._replace(kept=size),
                convolution(size, wide, point)._replace(kept=wide),
                norm._replace(kept=wide),
                *last,
            ]
            for size in self.sizes
        ]

    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """Returns (B, D, H, W, out_channels)."""
        tail = ("depthwise", "norm3", "pointwise") if self.separable else ("conv2",)
        parts = {name: getattr(self, name) for name in ("norm1", "conv1", "norm2", *tail)}
        weights = {name: part.weights() for name, part in parts.items()}
        stacked = _stacked(weights, self.sizes, self.out_channels)
        epsilon = self.batch_norm.epsilon
        if not train:
            return run_layers(x_BDHWC, stacked, epsilon)
        features, later = train_layers(x_BDHWC, stacked, epsilon, self.remat)
        channels = np.concatenate([np.arange(size) for size in self.sizes])
        self.norm1.update(jnp.take(features.mean, channels), jnp.take(features.variance, channels))
        for name, batch_moments in zip(("norm2", "norm3"), later):
            parts[name].update(*batch_moments)
        return features.values


def layer_sizes(in_channels: int, layers: int, growth_rate: int) -> tuple[int, ...]:
    """Input channels of each layer of a block."""
    return tuple(in_channels + growth_rate * index for index in range(layers))


def row_fan_in(sizes: tuple[int, ...]) -> np.ndarray:
    """Fan-in of each row of `FirstConvs`' kernel: the input channels of its layer."""
    return np.repeat(sizes, sizes)


def unstack(weights: Mapping[str, Any], sizes: tuple[int, ...]) -> list[Weights]:
    """Each layer's own weights, in the shapes of its convolutions.

    Args:
        weights: a block's parameters or its running statistics, or both in one dict, part by part.
        sizes: input channels of each layer, `DenseBlock.sizes`.
    """
    layers: list[Weights] = [{} for _ in sizes]
    for part, values in weights.items():
        for name, value in values.items():
            ragged = part == "norm1" or (part, name) == ("conv1", "kernel")
            own = split_rows(value, sizes) if ragged else list(value)
            if (part, name) == ("conv1", "kernel"):
                own = [kernel[None, None, None] for kernel in own]
            for layer, array in zip(layers, own, strict=True):
                layer.setdefault(part, {})[name] = array
    return layers


def _stacked(weights: Weights, sizes: tuple[int, ...], width: int) -> Weights:
    """The weights as `dense_layers` takes them: what is row under row padded to `width` rows a layer."""
    pad = functools.partial(pad_rows, sizes=sizes, width=width)
    return {
        **weights,
        "norm1": {name: pad(value) for name, value in weights["norm1"].items()},
        "conv1": {
            "kernel": pad(weights["conv1"]["kernel"])[:, None, None, None],
            "bias": weights["conv1"]["bias"],
        },
    }
