"""nnU-Net's U-Net with a residual encoder; its presets ResEnc M, L and XL differ in their patch alone.

`ResidualEncoderUNet` of dynamic-network-architectures (MIC-DKFZ, commit d35f85c): a stem of one convolution,
stages of residual blocks, and the decoder of `models.unet` with one convolution a stage. With the defaults,
one input channel, three classes and four auxiliary outputs it has 102,350,575 parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
from flax import linen as nn
from jax import Array, lax

from dsdenseunet.core.fields import integer, sequence
from dsdenseunet.models.layers import CONVOLVED, Conv, InstanceNorm, convolution, convolve
from dsdenseunet.models.network import Operation
from dsdenseunet.models.unet import GAIN, SLOPE, InstanceNormUNet, Stage
from dsdenseunet.ops.instance_norm import instance_norm
from dsdenseunet.ops.pool import average_pool_pairs

_CUBE, _POINT = (3, 3, 3), (1, 1, 1)


def residual_block(x_BDHWC: Array, weights: Mapping[str, Any], stride: int, epsilon: float) -> Array:
    """leaky(norm2(conv2(leaky(norm1(conv1(x))))) + x), with x averaged and projected to fit that.

    Args:
        x_BDHWC: input.
        weights: of `conv1`, `norm1`, `conv2`, `norm2`, and of `skip` and `skip_norm` where there are such.
        stride: of the first convolution, 1 or 2.
        epsilon: of the normalisations.
    """

    def norm(y_BDHWC: Array, name: str) -> Array:
        return instance_norm(y_BDHWC, weights[name]["scale"], weights[name]["bias"], epsilon)

    y = norm(convolve(x_BDHWC, weights["conv1"], (stride,) * 3), "norm1")
    y = norm(convolve(nn.leaky_relu(y, SLOPE), weights["conv2"]), "norm2")
    x = average_pool_pairs(x_BDHWC, (1, 2, 3)) if stride == 2 else x_BDHWC
    if "skip" in weights:
        x = norm(convolve(x, weights["skip"]), "skip_norm")
    return nn.leaky_relu(x + y, SLOPE)


class ResidualBlocks(nn.Module):
    """One residual block, or `stack` alike, one after the other, as one loop: the compiler sees one of them.

    Attributes:
        in_channels: of the input.
        features: of the output.
        stride: of the first convolution.
        epsilon: of the normalisations.
        remat: compute each block again in the backward pass; else only what is between its convolutions.
        stack: how many, see `Conv`; 0: one, without that axis.
    """

    in_channels: int
    features: int
    stride: int
    epsilon: float
    remat: bool
    stack: int = 0

    def setup(self) -> None:
        """Declares the parts."""
        features, stack = self.features, self.stack
        self.conv1 = Conv(self.in_channels, features, stride=(self.stride,) * 3, gain=GAIN, stack=stack)
        self.norm1 = InstanceNorm(features, self.epsilon, stack)
        self.conv2 = Conv(features, features, gain=GAIN, stack=stack)
        # At first a block hands on what it got.
        self.norm2 = InstanceNorm(features, self.epsilon, stack, first_scale=0)
        if self.projects:
            self.skip = Conv(self.in_channels, features, _POINT, use_bias=False, gain=GAIN)
            self.skip_norm = InstanceNorm(features, self.epsilon)

    @property
    def projects(self) -> bool:
        """Whether the input has other channels than the output."""
        return self.in_channels != self.features

    def operations(self) -> list[list[Operation]]:
        """See `Operation`: those of each block."""
        channels, features, stride = self.in_channels, self.features, (self.stride,) * 3
        layers = [
            convolution(channels, features, _CUBE, stride),
            Operation("instance norm"),
            Operation("leaky ReLU"),
            convolution(features, features, _CUBE),
            Operation("instance norm"),
        ]
        if self.projects:
            layers += [convolution(channels, features, _POINT), Operation("instance norm")]
        block = [one._replace(kept=features) for one in (*layers, Operation("leaky ReLU"))]
        return [block] * max(1, self.stack)

    def __call__(self, x_BDHWC: Array) -> Array:
        """(B, D, H, W, in_channels) -> (B, D/stride, H/stride, W/stride, features)."""
        skip = ("skip", "skip_norm") if self.projects else ()
        weights = {
            name: getattr(self, name).weights() for name in ("conv1", "norm1", "conv2", "norm2", *skip)
        }

        def block(x_BDHWC: Array, own: Any) -> tuple[Array, None]:
            return residual_block(x_BDHWC, own, self.stride, self.epsilon), None

        names = () if self.remat else (CONVOLVED,)
        run = jax.checkpoint(block, policy=jax.checkpoint_policies.save_only_these_names(*names))
        return (lax.scan if self.stack else lambda run, x, own: run(x, own))(run, x_BDHWC, weights)[0]


class ResidualStage(nn.Module):
    """`count` residual blocks, of which the first changes channels and sides; see `ResidualBlocks`."""

    in_channels: int
    features: int
    count: int
    stride: int
    epsilon: float
    remat: bool

    @nn.compact
    def __call__(self, x_BDHWC: Array) -> Array:
        """(B, D, H, W, in_channels) -> (B, D/stride, H/stride, W/stride, features)."""
        features, epsilon, remat = self.features, self.epsilon, self.remat
        x = ResidualBlocks(self.in_channels, features, self.stride, epsilon, remat, name="first")(x_BDHWC)
        if self.count > 1:
            x = ResidualBlocks(features, features, 1, epsilon, remat, self.count - 1, name="rest")(x)
        return x


class ResidualUNet(InstanceNormUNet):
    """See the module.

    Attributes:
        encoder_blocks: residual blocks of each stage on the way down.
    """

    encoder_blocks: tuple[int, ...] = (1, 3, 4, 6, 6, 6)
    decoder_convs: tuple[int, ...] = (1, 1, 1, 1, 1)

    per_stage: ClassVar = "encoder_blocks"
    checks: ClassVar = {**InstanceNormUNet.checks, per_stage: sequence(integer(1))}

    @nn.nowrap
    def encode(self, x_BDHWC: Array, train: bool) -> list[Array]:
        """See `InstanceNormUNet`."""
        stem, epsilon = self.rematerialised(Stage, train), self.norm_epsilon
        maps = [stem(x_BDHWC.shape[-1], self.widths[0], 1, 1, epsilon, name="stem")(x_BDHWC)]
        for level, (width, count) in enumerate(zip(self.widths, self.encoder_blocks, strict=True)):
            stride, x = 2 if level else 1, maps[-1]
            stage = ResidualStage(
                *(x.shape[-1], width, count, stride, epsilon, self.remat == "stage"), name=f"encoder{level}"
            )
            maps.append(stage(x))
        return maps[1:]
