"""A 2D fully convolutional DenseNet of Kaluva et al. (2018, arXiv 1802.02182), as far as it is known.

The paper's networks were never released: one for the liver on slices of 256 x 256, one for tumours on whole
slices in three windows of Hounsfield units, inside the liver that the first has found. Their depth, growth
rate, first width, losses, rates and clean-up are not known. What is here is the one network of an earlier
release of the same group (koriavinash1/LITS, branch `krish`, commit a6cf60c), which has the blocks that the
paper describes and learns three classes at once. With its values (five poolings, blocks of five layers,
growth rate 16, 48 first channels, three windows) it has 3,471,347 parameters. Networks of two classes, as one
would make them of the same blocks for two stages, have 3,471,310 (liver, `half` the resolution), 3,465,186
(liver, one window, not `half`) and 3,466,050 (tumour, not `half`); a task has all classes in one network.

That release is TensorFlow 1 and does not run with today's libraries: counts and shapes are held to it by
tests, values are not. Not as there: no histogram is equalised before the windows; slices are halved by the
mean of each 2 x 2 pixels, not by splines; the slices of a patch are independent, but share batch statistics.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from dsdenseunet.core.fields import choice, integer, is_number, number, sequence, truth
from dsdenseunet.models import initialise
from dsdenseunet.models.layers import CONVOLVED, Conv, NormSettings, rematerialised
from dsdenseunet.models.network import Network, Operation, Outputs
from dsdenseunet.ops.pool import average_pool_pairs, max_pool_pairs
from dsdenseunet.ops.upsample import upsample_from_corners

_POINT, _SQUARE, _PLANE = (1, 1, 1), (1, 3, 3), (2, 3)
_EPSILON = 1e-3
# Channels between the two last convolutions of a network that works at half resolution.
_NARROW = 4
# Kernels start with this deviation divided by their number of weights, biases with this value.
_FIRST = 0.1


class Windows(nn.Module):
    """Each channel once for each window, mapped from it to [0, 1] and clipped; then halved, where asked for.

    Attributes:
        windows: ends of each, in the image's own values.
        half: whether slices are halved.
    """

    windows: tuple[tuple[float, float], ...]
    half: bool

    def operations(self) -> list[Operation]:
        """See `Operation`."""
        return [
            Operation(f"{len(self.windows)} windows" + (", mean of 2 x 2" if self.half else ""), counted=0)
        ]

    @nn.compact
    def __call__(self, x_BDHWC: Array) -> Array:
        """(B, D, H, W, C) -> (B, D, H, W, windows * C), H and W halved or not."""
        seen = [jnp.clip((x_BDHWC - low) / (high - low), 0, 1) for low, high in self.windows]
        x = jnp.concatenate(seen, axis=-1)
        return average_pool_pairs(x, _PLANE) if self.half else x


class NormEluConv(nn.Module):
    """BN, ELU, convolution with bias, dropout.

    Attributes:
        features: of the output.
        size: of the convolution.
        dropout_rate: of its output.
        momentum: of running statistics.
    """

    features: int
    size: tuple[int, int, int]
    dropout_rate: float
    momentum: float

    def operations(self) -> list[Operation]:
        """See `Operation`: what is not in the convolution."""
        return [Operation("BN, ELU", counted=2)]

    @nn.compact
    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """(B, D, H, W, C) -> (B, D, H, W, features)."""
        x = nn.elu(_norm(NormSettings(self.momentum, _EPSILON), x_BDHWC, train))
        x = Conv(x.shape[-1], self.features, self.size, name="conv")(x)
        return nn.Dropout(self.dropout_rate, deterministic=not train, name="dropout")(x)


class DenseBlock(nn.Module):
    """`layers` units of BN, ELU, 3 x 3 convolution, each fed with the input and all outputs before it."""

    layers: int
    growth_rate: int
    dropout_rate: float
    momentum: float
    remat: bool

    @nn.compact
    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """Returns (B, D, H, W, C + layers * growth_rate), what is new at the end."""
        unit = rematerialised(NormEluConv, train, (2,), () if self.remat else (CONVOLVED,))
        for number_ in range(1, self.layers + 1):
            settings = (self.growth_rate, _SQUARE, self.dropout_rate, self.momentum)
            x_BDHWC = jnp.concatenate([x_BDHWC, unit(*settings, name=f"layer{number_}")(x_BDHWC, train)], -1)
        return x_BDHWC


class Down(nn.Module):
    """BN, ELU, 1 x 1 convolution that keeps the channels, dropout, maximum of 2 x 2."""

    dropout_rate: float
    momentum: float

    def operations(self) -> list[Operation]:
        """See `Operation`."""
        return [Operation("max pool at the end", counted=0)]

    @nn.compact
    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """(B, D, H, W, C) -> (B, D, H/2, W/2, C)."""
        channels = x_BDHWC.shape[-1]
        unit = NormEluConv(channels, _POINT, self.dropout_rate, self.momentum, name="unit")
        return max_pool_pairs(unit(x_BDHWC, train), _PLANE)


class Up(nn.Module):
    """Bilinear upsampling of a block's new channels, 3 x 3 convolution, BN; the link's map beside it."""

    channels: int
    momentum: float

    def operations(self) -> list[Operation]:
        """See `Operation`."""
        return [Operation("upsample HW, BN, concatenate", counted=2)]

    @nn.compact
    def __call__(self, x_BDHWC: Array, skip_BDHWC: Array, train: bool) -> Array:
        """Returns (B, D, 2 H, 2 W, channels + those of the link)."""
        x = upsample_from_corners(x_BDHWC[..., -self.channels :], _PLANE)
        x = Conv(self.channels, self.channels, _SQUARE, name="conv")(x)
        x = _norm(NormSettings(self.momentum, _EPSILON), x, train)
        return jnp.concatenate([x, skip_BDHWC], axis=-1)


class Head(nn.Module):
    """3 x 3 convolution to the classes; from half resolution two, with bilinear upsampling between."""

    num_classes: int
    half: bool

    @nn.compact
    def __call__(self, x_BDHWC: Array) -> Array:
        """Float32 logits (B, D, H, W, num_classes), H and W doubled or not."""
        x = x_BDHWC.astype(jnp.float32)
        if self.half:
            x = Conv(x.shape[-1], _NARROW, _SQUARE, name="narrow")(x)
            x = upsample_from_corners(x, _PLANE)
        return Conv(x.shape[-1], self.num_classes, _SQUARE, name="conv")(x)


def _norm(settings: NormSettings, x_BDHWC: Array, train: bool) -> Array:
    norm = nn.BatchNorm(
        not train, momentum=settings.momentum, epsilon=settings.epsilon, dtype=x_BDHWC.dtype, name="norm"
    )
    return norm(x_BDHWC)


def _window(value: Any) -> str | None:
    fits = isinstance(value, tuple | list) and len(value) == 2 and all(map(is_number, value))
    return None if fits and value[0] < value[1] else "a pair of numbers, the lower one first"


class KaluvaNet(Network):
    """See the module.

    Attributes:
        windows: pairs of ends, in the image's own values; the network sees each channel once for each.
        half: whether slices are halved first, and the classes' scores doubled at last.
        poolings: levels of the encoder.
        layers: of each dense block.
        growth_rate: channels that a layer adds.
        first_channels: of the first convolution.
        dropout_rate: behind every convolution of a dense block and a pooling.
        bn_momentum: of the running statistics.
        dtype: of activations; parameters, statistics and logits are float32.
        remat: none | layer: convolutions that the backward pass computes again (none, those of dense blocks).
    """

    windows: tuple[tuple[float, float], ...]
    half: bool
    poolings: int
    layers: int
    growth_rate: int
    first_channels: int
    dropout_rate: float
    bn_momentum: float
    dtype: str = "float32"
    remat: str = "none"

    remats: ClassVar = {"none": (), "layer": ("block",)}
    dtypes: ClassVar = ("float32", "bfloat16")
    checks: ClassVar = {
        "in_channels": integer(1),
        "num_classes": integer(2),
        "windows": sequence(_window, shortest=1),
        "half": truth,
        "poolings": integer(1),
        "layers": integer(1),
        "growth_rate": integer(1),
        "first_channels": integer(1),
        "dropout_rate": number(low=0, below=1),
        "bn_momentum": number(low=0, below=1),
        "dtype": choice(*dtypes),
        "remat": choice(*remats),
    }

    @property
    def stride(self) -> tuple[int, int, int]:
        """See `Network`."""
        factor = 2 ** (self.poolings + self.half)
        return 1, factor, factor

    @nn.nowrap
    def first_values(self, seed: int = 0) -> dict[str, Any]:
        """The release's initialisers, drawn on the host."""
        return initialise.drawn(self, seed, _first_value)

    @nn.compact
    def __call__(self, image_BDHWC: Array, train: bool) -> Outputs:
        """See `Network`; running statistics are in the collection `batch_stats`."""
        x = Windows(self.windows, self.half, name="windows")(image_BDHWC).astype(jnp.dtype(self.dtype))

        def block(x: Array, name: str) -> Array:
            settings = (self.layers, self.growth_rate, self.dropout_rate, self.bn_momentum)
            return DenseBlock(*settings, self.remat == "layer", name=name)(x, train)

        x = Conv(x.shape[-1], self.first_channels, _SQUARE, name="first")(x)
        skips = []
        for level in range(1, self.poolings + 1):
            x = block(x, f"block{level}")
            skips.append(x)
            x = Down(self.dropout_rate, self.bn_momentum, name=f"down{level}")(x, train)
        x = block(x, f"block{self.poolings + 1}")
        for level in range(self.poolings, 0, -1):
            up = Up(self.layers * self.growth_rate, self.bn_momentum, name=f"up{level}")
            x = block(up(x, skips.pop(), train), f"block_up{level}")
        return Outputs(Head(self.num_classes, self.half, name="head")(x))


def _first_value(
    path: initialise.Path, shape: initialise.Shape, generator: np.random.Generator
) -> np.ndarray:
    if path[-1] == "kernel":
        return initialise.truncated_normal(shape, _FIRST / math.prod(shape), generator)
    if path[-1] == "bias" and path[-2] != "norm":
        return np.full(shape, _FIRST, np.float32)
    return initialise.he_normal(path, shape, generator)
