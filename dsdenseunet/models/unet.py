"""The plain 3D U-Net as nnU-Net configures it: two convolutions a stage, instance norm, leaky ReLU.

`PlainConvUNet` of dynamic-network-architectures (MIC-DKFZ, commit d35f85c): convolutions with bias, of which
the first of each stage but the first has stride 2; transposed 2^3 convolutions; the encoder's map beside the
upsampled one. With the defaults, one input channel, three classes and four auxiliary outputs it has the
31,196,399 parameters of nnU-Net's plan for LiTS. `models.residual_unet` has another encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from dsdenseunet.core.fields import choice, integer, number, refusal, sequence
from dsdenseunet.models.layers import CONVOLVED, Conv, DoublingConv, InstanceNorm, rematerialised
from dsdenseunet.models.network import Network, Operation, Outputs
from dsdenseunet.ops.axes import depth_to_space

SLOPE = 0.01
# He et al. 2015, for a leaky ReLU of this slope.
GAIN = 2 / (1 + SLOPE**2)
_POINT = (1, 1, 1)


class Stage(nn.Module):
    """Convolutions 3^3, each followed by instance norm and leaky ReLU.

    Attributes:
        in_channels: of the input.
        features: of the output.
        count: convolutions.
        stride: of the first, along each axis.
        epsilon: of the normalisations.
    """

    in_channels: int
    features: int
    count: int
    stride: int
    epsilon: float

    def operations(self) -> list[Operation]:
        """See `Operation`: the activations; all else is in the modules called."""
        return [Operation("leaky ReLU after each norm", counted=self.count)]

    @nn.compact
    def __call__(self, x_BDHWC: Array) -> Array:
        """(B, D, H, W, in_channels) -> (B, D/stride, H/stride, W/stride, features)."""
        channels = self.in_channels
        for index in range(1, self.count + 1):
            stride = (1, 1, 1) if index > 1 else (self.stride,) * 3
            conv = Conv(channels, self.features, stride=stride, gain=GAIN, name=f"conv{index}")
            x = InstanceNorm(self.features, self.epsilon, name=f"norm{index}")(conv(x_BDHWC))
            x_BDHWC, channels = nn.leaky_relu(x, SLOPE), self.features
        return x_BDHWC


class Up(nn.Module):
    """Transposed 2^3 convolution with stride 2 and bias; the encoder's map beside it; convolutions."""

    in_channels: int
    features: int
    count: int
    epsilon: float

    @nn.compact
    def __call__(self, x_BDHWC: Array, skip_BDHWC: Array) -> Array:
        """(B, D, H, W, in_channels) -> (B, 2 D, 2 H, 2 W, features), the shape of `skip_BDHWC`."""
        # PyTorch takes a transposed convolution's fan-in from its outputs.
        gain = GAIN * self.in_channels / (8 * self.features)
        conv = DoublingConv(self.in_channels, 8 * self.features, _POINT, use_bias=False, gain=gain, name="up")
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        x = depth_to_space(conv(x_BDHWC)) + bias.astype(x_BDHWC.dtype)
        x = jnp.concatenate([x, skip_BDHWC], axis=-1)
        return Stage(2 * self.features, self.features, self.count, 1, self.epsilon, name="stage")(x)


class InstanceNormUNet(Network):
    """What nnU-Net's U-Nets have in common: all but the way down.

    Attributes:
        widths: channels of the stages, the first with the image's sides.
        decoder_convs: convolutions of each stage but the last on the way up.
        norm_epsilon: added to variances.
        dtype: of activations; parameters and logits are float32.
        remat: none | stage: whether the backward pass computes the stages again, of which only the
            convolutions' results are kept otherwise.
        auxiliary_outputs: stages before the last that have logits of their own in training.
        per_stage: the field that has a value for each stage on the way down.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256, 320, 320)
    decoder_convs: tuple[int, ...] = (2, 2, 2, 2, 2)
    norm_epsilon: float = 1e-5
    dtype: str = "float32"
    remat: str = "none"
    auxiliary_outputs: int = 4

    per_stage: ClassVar[str]
    remats: ClassVar = {"none": (), "stage": ("stem", "encoder", "up")}
    dtypes: ClassVar = ("float32", "bfloat16")
    checks: ClassVar = {
        "in_channels": integer(1),
        "num_classes": integer(2),
        "widths": sequence(integer(1), shortest=2),
        "decoder_convs": sequence(integer(1)),
        "norm_epsilon": number(above=0),
        "dtype": choice(*dtypes),
        "remat": choice(*remats),
        "auxiliary_outputs": integer(0),
    }

    @classmethod
    def check_together(cls, values: Mapping[str, Any]) -> None:
        """Numbers of stages."""
        stages = len(values["widths"])
        for name, wanted in ((cls.per_stage, stages), ("decoder_convs", stages - 1)):
            if len(values[name]) != wanted:
                found = f"{len(values[name])} values for {stages} widths"
                raise refusal(f"model.{name}", found, f"{wanted} values")
        if values["auxiliary_outputs"] > stages - 2:
            found = f"{values['auxiliary_outputs']} for {stages} widths"
            raise refusal("model.auxiliary_outputs", found, f"at most {stages - 2}")

    @property
    def stride(self) -> tuple[int, int, int]:
        """See `Network`."""
        factor = 2 ** (len(self.widths) - 1)
        return factor, factor, factor

    @nn.nowrap
    def rematerialised(self, module: type[nn.Module], train: bool) -> Any:
        """A module of which the backward pass keeps what `remat` says."""
        return rematerialised(module, train, kept=() if self.remat == "stage" else (CONVOLVED,))

    @nn.nowrap
    def encode(self, x_BDHWC: Array, train: bool) -> list[Array]:
        """The maps of all stages on the way down, the finest first."""
        raise NotImplementedError

    @nn.compact
    def __call__(self, image_BDHWC: Array, train: bool) -> Outputs:
        """See `Network`."""
        up = self.rematerialised(Up, train)
        skips = self.encode(image_BDHWC.astype(jnp.dtype(self.dtype)), train)
        maps = [x := skips.pop()]
        for level in reversed(range(len(skips))):
            width, count = self.widths[level], self.decoder_convs[level]
            x = up(x.shape[-1], width, count, self.norm_epsilon, name=f"up{level}")(x, skips[level])
            maps.insert(0, x)

        def logits(x_BDHWC: Array, name: str) -> Array:
            conv = Conv(x_BDHWC.shape[-1], self.num_classes, _POINT, gain=GAIN, name=name)
            return conv(x_BDHWC.astype(jnp.float32))

        auxiliary = []
        if train or self.is_initializing():
            coarser = maps[1 : 1 + self.auxiliary_outputs]
            auxiliary = [logits(x, f"auxiliary{level}") for level, x in enumerate(coarser, start=1)]
        return Outputs(logits(x, "head"), tuple(auxiliary))


class UNet(InstanceNormUNet):
    """See the module.

    Attributes:
        encoder_convs: convolutions of each stage on the way down.
    """

    encoder_convs: tuple[int, ...] = (2, 2, 2, 2, 2, 2)

    per_stage: ClassVar = "encoder_convs"
    checks: ClassVar = {**InstanceNormUNet.checks, per_stage: sequence(integer(1))}

    @nn.nowrap
    def encode(self, x_BDHWC: Array, train: bool) -> list[Array]:
        """See `InstanceNormUNet`."""
        stage, maps = self.rematerialised(Stage, train), [x_BDHWC]
        for level, (width, count) in enumerate(zip(self.widths, self.encoder_convs, strict=True)):
            stride, x = 2 if level else 1, maps[-1]
            maps.append(
                stage(x.shape[-1], width, count, stride, self.norm_epsilon, name=f"encoder{level}")(x)
            )
        return maps[1:]
