"""3D U-Net (Cicek et al., MICCAI 2016, arXiv 1606.06650): pairs of convolutions with batch norm, and no more.

For an image of 128^3 voxels with one channel, three classes and the defaults (19,072,899 parameters; the
paper counts 19,069,955 with three channels and without the normalisations' 4,672):

    encoder0   conv 3^3 1 -> 32, 32 -> 64, each with BN, ReLU         128^3 x 64
    encoder1   max pool 2^3, conv 3^3 64 -> 64, 64 -> 128              64^3 x 128
    encoder2   the same with twice the channels                        32^3 x 256
    encoder3   the same with twice the channels                        16^3 x 512
    up2        transposed conv 2^3 512 -> 512, encoder2 beside it,
               conv 3^3 768 -> 256, 256 -> 256                         32^3 x 256
    up1        the same with half the channels                         64^3 x 128
    up0        the same with half the channels                        128^3 x 64
    head       conv 1^3 64 -> 3                                       128^3 x 3

Not as in the paper: its convolutions are not padded, so that 132 x 132 x 116 voxels give the classes of the
44 x 44 x 28 in their middle, and the encoder's maps are cropped. Here they are padded by one voxel, and every
voxel of a patch gets its classes; the weights are the same. The transposed convolutions have no bias, as the
paper's count has it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from dsdenseunet.core.fields import choice, integer, number, sequence
from dsdenseunet.models import initialise
from dsdenseunet.models.layers import (
    CONVOLVED,
    STATISTICS,
    BatchNormReLU,
    Conv,
    DoublingConv,
    NormSettings,
    rematerialised,
)
from dsdenseunet.models.network import Network, Outputs
from dsdenseunet.ops.axes import depth_to_space
from dsdenseunet.ops.pool import max_pool_pairs

_POINT = (1, 1, 1)


class Pair(nn.Module):
    """Two convolutions 3^3, each followed by batch norm and ReLU.

    Attributes:
        in_channels: of the input.
        features: of the first convolution and of the second.
        norm: settings of the normalisations.
    """

    in_channels: int
    features: tuple[int, int]
    norm: NormSettings

    @nn.compact
    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """(B, D, H, W, in_channels) -> (B, D, H, W, features[1])."""
        channels = self.in_channels
        for index, features in enumerate(self.features, start=1):
            x_BDHWC = Conv(channels, features, name=f"conv{index}")(x_BDHWC)
            x_BDHWC = BatchNormReLU(features, self.norm, name=f"bn{index}")(x_BDHWC, train)
            channels = features
        return x_BDHWC


class Up(nn.Module):
    """Transposed 2^3 convolution with stride 2, without bias; the encoder's map beside it; a pair.

    Attributes:
        in_channels: of the input, which the transposed convolution keeps.
        skip_channels: of the encoder's map, and of the output.
        norm: see `Pair`.
    """

    in_channels: int
    skip_channels: int
    norm: NormSettings

    @nn.compact
    def __call__(self, x_BDHWC: Array, skip_BDHWC: Array, train: bool) -> Array:
        """(B, D, H, W, in_channels) -> (B, 2 D, 2 H, 2 W, skip_channels), the sides of `skip_BDHWC`."""
        channels, features = self.in_channels, self.skip_channels
        x = DoublingConv(channels, 8 * channels, _POINT, use_bias=False, name="up")(x_BDHWC)
        x = jnp.concatenate([depth_to_space(x), skip_BDHWC], axis=-1)
        return Pair(channels + features, (features, features), self.norm, name="pair")(x, train)


class CicekUNet(Network):
    """See the module.

    Attributes:
        widths: channels of each stage's first convolution on the way down; its second has twice as many.
        bn_momentum: of the running statistics.
        bn_epsilon: added to variances.
        dtype: of activations; parameters, statistics and logits are float32.
        remat: none | stage: whether the backward pass computes the stages again, of which only the
            convolutions' results and the statistics are kept otherwise.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    bn_momentum: float = 0.99
    bn_epsilon: float = 1e-3
    dtype: str = "float32"
    remat: str = "none"

    remats: ClassVar = {"none": (), "stage": ("encoder", "up")}
    dtypes: ClassVar = ("float32", "bfloat16")
    checks: ClassVar = {
        "in_channels": integer(1),
        "num_classes": integer(2),
        "widths": sequence(integer(1), shortest=1),
        "bn_momentum": number(low=0, below=1),
        "bn_epsilon": number(above=0),
        "dtype": choice(*dtypes),
        "remat": choice(*remats),
    }

    @property
    def stride(self) -> tuple[int, int, int]:
        """See `Network`."""
        factor = 2 ** (len(self.widths) - 1)
        return factor, factor, factor

    @nn.nowrap
    def first_values(self, seed: int = 0) -> dict[str, Any]:
        """He et al.'s normal ones: the paper does not say which it takes."""
        return initialise.drawn(self, seed, initialise.he_normal)

    @nn.compact
    def __call__(self, image_BDHWC: Array, train: bool) -> Outputs:
        """See `Network`."""
        norm = NormSettings(self.bn_momentum, self.bn_epsilon)
        kept = () if self.remat == "stage" else (CONVOLVED, STATISTICS)
        pair = rematerialised(Pair, train, (2,), kept)
        up = rematerialised(Up, train, (3,), kept)

        x = image_BDHWC.astype(jnp.dtype(self.dtype))
        skips: list[Array] = []
        for level, width in enumerate(self.widths):
            x = max_pool_pairs(skips[-1], (1, 2, 3)) if level else x
            stage = pair(x.shape[-1], (width, 2 * width), norm, name=f"encoder{level}")
            skips.append(stage(x, train))
        x = skips.pop()
        for level in reversed(range(len(skips))):
            stage = up(x.shape[-1], skips[level].shape[-1], norm, name=f"up{level}")
            x = stage(x, skips[level], train)
        head = Conv(x.shape[-1], self.num_classes, _POINT, name="head")
        return Outputs(head(x.astype(jnp.float32)))
