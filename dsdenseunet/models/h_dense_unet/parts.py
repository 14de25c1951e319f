"""The layers of both dense U-Nets: every normalisation is followed by a second scale and shift."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from dsdenseunet.models.layers import CONVOLVED, STATISTICS, BatchNormReLU, Conv, NormSettings, rematerialised
from dsdenseunet.models.network import Operation
from dsdenseunet.ops.batch_norm import normalise_relu
from dsdenseunet.ops.pool import average_pool_pairs
from dsdenseunet.ops.upsample import upsample_nearest

LINKS = ("none", "before", "after")
Size = tuple[int, int, int]
_POINT = (1, 1, 1)


class BatchNormScaleReLU(BatchNormReLU):
    """Batch normalisation, the layer "Scale" of the Caffe original, ReLU.

    Scale multiplies and shifts each channel once more, by `gamma` and `beta`. The normalisation does so
    already: Scale changes how the network learns, and what is trained while normalisations are frozen, not
    what it can compute.
    """

    def setup(self) -> None:
        """Declares the parameters."""
        super().setup()
        self.gamma = self.param("gamma", nn.initializers.ones_init(), (self.channels,))
        self.beta = self.param("beta", nn.initializers.zeros_init(), (self.channels,))

    def operations(self) -> list[Operation]:
        """See `Operation`."""
        return [Operation("BN, Scale, ReLU", counted=3)]

    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """Normalises by the batch's statistics where `train`, else by the running ones."""
        mean, variance = self.statistics(x_BDHWC, train)
        scale, bias = self.gamma * self.scale, self.gamma * self.bias + self.beta
        return normalise_relu(x_BDHWC, mean, variance, scale, bias, self.settings.epsilon)


class Stem(nn.Module):
    """7 x 7 convolution (7^3 in 3D) with stride 2 and no bias; BN, Scale, ReLU."""

    features: int
    size: Size
    stride: Size
    norm: NormSettings

    @nn.compact
    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """(B, D, H, W, C) -> (B, D / stride, H/2, W/2, features)."""
        channels = x_BDHWC.shape[-1]
        x = Conv(channels, self.features, self.size, self.stride, use_bias=False, name="conv")(x_BDHWC)
        return BatchNormScaleReLU(self.features, self.norm, name="norm")(x, train)


class DenseLayer(nn.Module):
    """BN, Scale, ReLU, 1 x 1 convolution; the same again with a 3 x 3 (3^3 in 3D) one; no biases."""

    bottleneck: int
    growth_rate: int
    size: Size
    norm: NormSettings

    @nn.compact
    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """Returns the new channels, (B, D, H, W, growth_rate)."""
        channels, wide = x_BDHWC.shape[-1], self.bottleneck
        x = BatchNormScaleReLU(channels, self.norm, name="norm1")(x_BDHWC, train)
        x = Conv(channels, wide, _POINT, use_bias=False, name="conv1")(x)
        x = BatchNormScaleReLU(wide, self.norm, name="norm2")(x, train)
        return Conv(wide, self.growth_rate, self.size, use_bias=False, name="conv2")(x)


class DenseBlock(nn.Module):
    """Dense layers, each fed with the block's input and the outputs of all layers before it.

    Attributes:
        layers: how many.
        bottleneck, growth_rate, size, norm: of each, see `DenseLayer`.
        remat: whether the backward pass computes convolutions again; normalisations it always does.
    """

    layers: int
    bottleneck: int
    growth_rate: int
    size: Size
    norm: NormSettings
    remat: bool

    @nn.compact
    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """Returns (B, D, H, W, C + layers * growth_rate)."""
        kept = () if self.remat else (CONVOLVED, STATISTICS)
        dense_layer = rematerialised(DenseLayer, train, (2,), kept)
        for number in range(1, self.layers + 1):
            layer = dense_layer(
                self.bottleneck, self.growth_rate, self.size, self.norm, name=f"layer{number}"
            )
            x_BDHWC = jnp.concatenate([x_BDHWC, layer(x_BDHWC, train)], axis=-1)
        return x_BDHWC


class MeanOfPairs(nn.Module):
    """Mean of each 2 x 2 voxels of a slice."""

    def operations(self) -> list[Operation]:
        """See `Operation`."""
        return [Operation("average pool by 1 x 2 x 2")]

    @nn.compact
    def __call__(self, x_BDHWC: Array) -> Array:
        """(B, D, H, W, C) -> (B, D, H/2, W/2, C)."""
        return average_pool_pairs(x_BDHWC, (2, 3))


class Transition(nn.Module):
    """BN, Scale, ReLU, compressing 1 x 1 convolution (no bias), mean of each 2 x 2 voxels of a slice."""

    features: int
    norm: NormSettings

    @nn.compact
    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """(B, D, H, W, C) -> (B, D, H/2, W/2, features)."""
        channels = x_BDHWC.shape[-1]
        x = BatchNormScaleReLU(channels, self.norm, name="norm")(x_BDHWC, train)
        x = Conv(channels, self.features, _POINT, use_bias=False, name="conv")(x)
        return MeanOfPairs(name="pool")(x)


class Up(nn.Module):
    """Nearest upsampling by 2, convolution with bias, dropout, BN, ReLU; the UNet sum where there is one.

    Attributes:
        features: of the output.
        axes: that are doubled, of 1, 2, 3 = D, H, W.
        size: of the convolution.
        link: none | before | after: whether the encoder's map is added to the map that goes into the
            convolution, to the stage's output, or not at all. A 1 x 1 convolution with bias brings it to the
            channels of the other where they differ.
        dropout_rate: between the convolution and its normalisation.
        norm: of the normalisation.
    """

    features: int
    axes: tuple[int, ...]
    size: Size
    link: str
    dropout_rate: float
    norm: NormSettings

    def operations(self) -> list[Operation]:
        """See `Operation`: the upsampling; the sum costs no multiply-add."""
        axes = "".join(" DHW"[axis] for axis in self.axes)
        return [Operation(f"upsample {axes}" + (f", sum {self.link}" if self.link != "none" else ""))]

    @nn.compact
    def __call__(self, x_BDHWC: Array, skip_BDHWC: Array | None, train: bool, statistics: bool) -> Array:
        """Returns the upsampled map with `features` channels.

        Args:
            x_BDHWC: the map to upsample.
            skip_BDHWC: the encoder's map of the output's sides, None where the stage has none.
            train: whether there is dropout.
            statistics: whether the batch's statistics are used.
        """
        x = upsample_nearest(x_BDHWC, self.axes)
        if self.link == "before":
            x = self._sum(x, skip_BDHWC)
        x = Conv(x.shape[-1], self.features, self.size, name="conv")(x)
        if self.dropout_rate:
            x = nn.Dropout(self.dropout_rate, deterministic=not train, name="dropout")(x)
        x = BatchNormReLU(self.features, self.norm, name="norm")(x, statistics)
        return self._sum(x, skip_BDHWC) if self.link == "after" else x

    def _sum(self, x_BDHWC: Array, skip_BDHWC: Array | None) -> Array:
        if skip_BDHWC is None:
            return x_BDHWC
        channels, wanted = skip_BDHWC.shape[-1], x_BDHWC.shape[-1]
        if channels != wanted:
            skip_BDHWC = Conv(channels, wanted, _POINT, name="project")(skip_BDHWC)
        return x_BDHWC + skip_BDHWC
