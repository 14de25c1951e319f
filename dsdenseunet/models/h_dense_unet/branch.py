"""A dense U-Net in 2D or 3D up to its last map, as a list of stages."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from dsdenseunet.core.fields import refusal
from dsdenseunet.models import initialise
from dsdenseunet.models.h_dense_unet.parts import BatchNormScaleReLU, DenseBlock, Size, Stem, Transition, Up
from dsdenseunet.models.layers import CONVOLVED, STATISTICS, NormSettings, rematerialised
from dsdenseunet.ops.pool import max_pool

# The epsilon of the encoder is Caffe's, that of the decoder Keras' default.
_ENCODER_EPSILON, DECODER_EPSILON = 1.1e-5, 1e-3
# Of the 2D decoder's kernels: Keras' initialiser "normal".
_NORMAL = 0.05


@dataclasses.dataclass(frozen=True)
class Branch:
    """One dense U-Net.

    Attributes:
        dimensions: 2, where no layer looks across slices, or 3.
        block_layers: dense layers of each block.
        growth_rate: channels that a dense layer adds.
        bottleneck: channels of the 1 x 1 convolution in a dense layer.
        stem_channels: of the stem.
        compression: share of channels that a transition keeps.
        decoder_channels: of the upsampling stages, one more than there are blocks.
        link: see `parts.Up`.
        dropout_rate: of the last upsampling stage.
        momentum: of running statistics.
        remat: whether the backward pass computes the dense layers' convolutions again.
        prefix: of its stages' names.
    """

    dimensions: int
    block_layers: tuple[int, ...]
    growth_rate: int
    bottleneck: int
    stem_channels: int
    compression: float
    decoder_channels: tuple[int, ...]
    link: str
    dropout_rate: float
    momentum: float
    remat: bool
    prefix: str = ""

    @property
    def stride(self) -> tuple[int, int, int]:
        """Factor between the input and the deepest map along (D, H, W)."""
        factor = 2 ** (len(self.block_layers) + 1)
        return 4 if self.dimensions == 3 else 1, factor, factor

    def size(self, side: int) -> Size:
        """Sides of a kernel."""
        return side if self.dimensions == 3 else 1, side, side

    def __call__(self, x_BDHWC: Array, train: bool, running: tuple[str, ...] = ()) -> Array:
        """The last map, of the image's sides; makes its stages in the module that calls it.

        Args:
            x_BDHWC: the image, of the type of all maps.
            train: whether there is dropout, and batch statistics but for those of `running`.
            running: starts of names of stages that normalise by running statistics in training too.
        """
        # The stem and the pool halve D in 3D, the last two upsampling stages double it again.
        plane = (2, 3)
        space = (1, 2, 3) if self.dimensions == 3 else plane
        norm = NormSettings(self.momentum, _ENCODER_EPSILON)
        last_norm = NormSettings(self.momentum, DECODER_EPSILON)
        transition = rematerialised(Transition, train, (2,), (CONVOLVED, STATISTICS))
        up = rematerialised(Up, train, (3, 4), (CONVOLVED, STATISTICS))

        def named(stage: str) -> tuple[str, bool]:
            name = self.prefix + stage
            return name, train and not name.startswith(running)

        name, statistics = named("stem")
        stride = (2 if self.dimensions == 3 else 1, 2, 2)
        x = Stem(self.stem_channels, self.size(7), stride, norm, name=name)(x_BDHWC, statistics)
        skips = [x]
        x = max_pool(x, space)
        for count, layers in enumerate(self.block_layers, start=1):
            name, statistics = named(f"block{count}")
            block = DenseBlock(
                *(layers, self.bottleneck, self.growth_rate, self.size(3), norm, self.remat), name=name
            )
            x = block(x, statistics)
            if count < len(self.block_layers):
                skips.append(x)
                name, statistics = named(f"transition{count}")
                features = math.floor(x.shape[-1] * self.compression)
                x = transition(features, norm, name=name)(x, statistics)
        name, statistics = named("norm")
        x = BatchNormScaleReLU(x.shape[-1], norm, name=name)(x, statistics)
        for count, features in enumerate(self.decoder_channels, start=1):
            is_last = count == len(self.decoder_channels)
            axes = space if count >= len(self.decoder_channels) - 1 else plane
            rate = self.dropout_rate if is_last else 0.0
            name, statistics = named(f"up{count}")
            stage = up(features, axes, self.size(3), self.link, rate, last_norm, name=name)
            x = stage(x, skips.pop() if skips else None, train, statistics)
        return x


def check_branch(values: Mapping[str, Any], blocks: str, decoder: str, compression: float) -> None:
    """Refuses a decoder that does not fit its blocks, and transitions that leave no channel.

    Args:
        values: fields of `config.model`.
        blocks: the field of the blocks' layers.
        decoder: the field of the decoder's channels.
        compression: share of channels that a transition keeps.

    Raises:
        InputError: such fields.
    """
    stages, wanted = len(values[decoder]), len(values[blocks]) + 1
    if stages != wanted:
        raise refusal(f"model.{decoder}", f"{stages} values", f"{wanted}, one more than dense blocks")
    if values["stem_channels"] * compression ** (len(values[blocks]) - 1) < 1:
        raise refusal("model.stem_channels", f"{values['stem_channels']}: no channel is left", "more")


def first_value_2d(
    path: initialise.Path, shape: initialise.Shape, generator: np.random.Generator
) -> np.ndarray:
    """The released 2D network's: Glorot's in the encoder, normal with deviation 0.05 after it, biases 0."""
    if path[-1] == "kernel" and (path[0] == "head" or path[0].startswith("up")):
        return initialise.normal(shape, np.square(_NORMAL), generator)
    return initialise.glorot_uniform(path, shape, generator)


def as_type(x_BDHWC: Array, dtype: str) -> Array:
    """The image in the type of the maps."""
    return x_BDHWC.astype(jnp.dtype(dtype))
