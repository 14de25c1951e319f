"""The family of 3D DenseUNets: the paper's network and its variants by configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.fields import choice, integer, number, refusal, sequence, truth
from dsdenseunet.models import initialise
from dsdenseunet.models.dense_block import DenseBlock, layer_sizes, row_fan_in
from dsdenseunet.models.layers import CONVOLVED, STATISTICS, BatchNormReLU, Conv, NormSettings, rematerialised
from dsdenseunet.models.network import Network, Operation, Outputs
from dsdenseunet.ops.pool import max_pool
from dsdenseunet.ops.upsample import upsample_linear

LINKS = ("add", "none", "project", "concat")


class Stem(nn.Module):
    """7^3 conv with stride 2 (no bias), BN, ReLU."""

    in_channels: int
    features: int
    batch_norm: NormSettings

    @nn.compact
    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """(B, D, H, W, C) -> (B, D/2, H/2, W/2, features)."""
        x = Conv(self.in_channels, self.features, (7, 7, 7), (2, 2, 2), use_bias=False, name="conv")(x_BDHWC)
        return BatchNormReLU(self.features, self.batch_norm, name="norm")(x, train)


class Transition(nn.Module):
    """BN, ReLU, compressing 1^3 conv (no bias), then a 3^3 conv with stride (1, 2, 2) in place of pooling."""

    in_channels: int
    features: int
    separable: bool
    batch_norm: NormSettings

    @nn.compact
    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """(B, D, H, W, C) -> (B, D, H/2, W/2, features)."""
        x = BatchNormReLU(self.in_channels, self.batch_norm, name="norm")(x_BDHWC, train)
        x = Conv(self.in_channels, self.features, (1, 1, 1), use_bias=False, name="conv")(x)
        stride = (1, 2, 2)
        return Conv(self.features, self.features, (3, 3, 3), stride, self.separable, name="reduce")(x)


class UpBlock(nn.Module):
    """Linear upsampling by 2, the UNet link, 3^3 conv, BN, ReLU.

    Attributes:
        in_channels: of the map to upsample.
        skip_channels: of the encoder's map, 0 where the stage has no link.
        axes: that are doubled, of 1, 2, 3 = D, H, W.
        link: `add` (on the channels that both have), `none`, `project` (1^3 conv, then add), `concat`.
    """

    in_channels: int
    skip_channels: int
    features: int
    axes: tuple[int, ...]
    link: str
    batch_norm: NormSettings

    def operations(self) -> list[Operation]:
        """See `Operation`: the upsampling; its link costs no multiply-add."""
        axes = "".join(" DHW"[axis] for axis in self.axes)
        linked = self.skip_channels and self.link != "none"
        return [Operation(f"upsample {axes}" + (f", link ({self.link})" if linked else ""))]

    @nn.compact
    def __call__(self, x_BDHWC: Array, skip_BDHWC: Array | None, train: bool) -> Array:
        """Returns the upsampled map with `features` channels."""
        x = upsample_linear(x_BDHWC, self.axes)
        channels = self.in_channels
        if skip_BDHWC is not None and self.link == "add":
            shared = min(channels, self.skip_channels)
            x = x + jnp.pad(skip_BDHWC[..., :shared], [(0, 0)] * 4 + [(0, channels - shared)])
        elif skip_BDHWC is not None and self.link == "project":
            x = x + Conv(self.skip_channels, channels, (1, 1, 1), name="project")(skip_BDHWC)
        elif skip_BDHWC is not None and self.link == "concat":
            x = jnp.concatenate([x, skip_BDHWC], -1)
            channels += self.skip_channels
        x = Conv(channels, self.features, name="conv")(x)
        return BatchNormReLU(self.features, self.batch_norm, name="norm")(x, train)


class Head(nn.Module):
    """BN, ReLU, 1^3 conv with bias to the classes, which runs in float32 whatever the maps' type."""

    in_channels: int
    num_classes: int
    batch_norm: NormSettings

    @nn.compact
    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """Returns float32 logits (B, D, H, W, num_classes)."""
        x = BatchNormReLU(self.in_channels, self.batch_norm, name="norm")(x_BDHWC, train)
        return Conv(self.in_channels, self.num_classes, (1, 1, 1), name="conv")(x.astype(jnp.float32))


class DenseUNet3D(Network):
    """3D-DenseUNet (paper, section 3 and figure 1); the defaults are 3D-DenseUNet-569 with DS-Conv.

    Attributes:
        in_channels: channels of the input.
        num_classes: classes of the output.
        block_layers: dense layers of each block.
        growth_rate: channels that a dense layer adds.
        bottleneck: channels of the 1^3 conv in a dense layer.
        stem_channels: channels of the stem.
        compression: share of channels that a transition keeps.
        decoder_channels: channels of the upsampling stages, one more than there are blocks.
        separable: depthwise separable convs in dense layers and transitions.
        link: add | none | project | concat.
        bn_momentum: of the running statistics.
        bn_epsilon: added to the variance.
        dtype: of activations; parameters, statistics and logits are float32.
        remat: none | layer: convolutions that the backward pass computes again (none, those of dense layers);
            normalisations, ReLUs and upsampling always are.
        auxiliary_outputs: of the stages before the last, as many have a head of their own while training.
    """

    in_channels: int = 1
    num_classes: int = 3
    block_layers: tuple[int, ...] = (4, 12, 24, 36)
    growth_rate: int = 32
    bottleneck: int = 128
    stem_channels: int = 96
    compression: float = 0.5
    decoder_channels: tuple[int, ...] = (504, 224, 192, 96, 64)
    separable: bool = True
    link: str = "add"
    bn_momentum: float = 0.99
    bn_epsilon: float = 1e-3
    dtype: str = "float32"
    remat: str = "none"
    auxiliary_outputs: int = 0

    remats: ClassVar = {"none": (), "layer": ("block",)}
    dtypes: ClassVar = ("float32", "bfloat16")
    checks: ClassVar = {
        "in_channels": integer(1),
        "num_classes": integer(2),
        "block_layers": sequence(integer(1), shortest=1),
        "growth_rate": integer(1),
        "bottleneck": integer(1),
        "stem_channels": integer(1),
        "compression": number(above=0, high=1),
        "decoder_channels": sequence(integer(1)),
        "separable": truth,
        "link": choice(*LINKS),
        "bn_momentum": number(low=0, below=1),
        "bn_epsilon": number(above=0),
        "dtype": choice(*dtypes),
        "remat": choice(*remats),
        "auxiliary_outputs": integer(0),
    }

    @classmethod
    def check_together(cls, values: Mapping[str, Any]) -> None:
        """Numbers of stages, and channels that a transition leaves."""
        blocks, stages = len(values["block_layers"]), len(values["decoder_channels"])
        if stages != blocks + 1:
            raise InputError(
                "config.model.decoder_channels",
                found=f"{stages} stages",
                expected=f"{blocks + 1}, one more than the {blocks} dense blocks",
                fix="change decoder_channels or block_layers",
            )
        if values["auxiliary_outputs"] >= stages:
            found = f"{values['auxiliary_outputs']} for {stages} stages"
            raise refusal("model.auxiliary_outputs", found, f"at most {stages - 1}: the last is the output")
        channels = values["stem_channels"]
        for layers in values["block_layers"][:-1]:
            channels = math.floor((channels + layers * values["growth_rate"]) * values["compression"])
            if not channels:
                found = f"{values['compression']}: no channel is left"
                raise refusal("model.compression", found, "a larger share")

    @property
    def stride(self) -> tuple[int, int, int]:
        """Factor between input and deepest map along (D, H, W): a patch's sides are multiples of it."""
        return 4, 2 ** (len(self.block_layers) + 1), 2 ** (len(self.block_layers) + 1)

    @nn.nowrap
    def first_values(self, seed: int = 0) -> dict[str, Any]:
        """He's, drawn on the host; the paper names no initialiser."""
        return initialise.drawn(self, seed, self._first_value)

    @nn.nowrap
    def _first_value(
        self, path: initialise.Path, shape: initialise.Shape, generator: np.random.Generator
    ) -> np.ndarray:
        if path[-1] != "kernel" or len(shape) != 2:
            return initialise.he_normal(path, shape, generator)
        # FirstConvs: layer i of a block brings in_channels + i * growth_rate rows.
        layers = self.block_layers[int(path[0].removeprefix("block")) - 1]
        in_channels = (shape[0] - sum(layer_sizes(0, layers, self.growth_rate))) // layers
        fan_in = row_fan_in(layer_sizes(in_channels, layers, self.growth_rate))
        return initialise.normal(shape, 2 / fan_in[:, None], generator)

    @nn.compact
    def __call__(self, image_BDHWC: Array, train: bool) -> Outputs:
        """See `Network`; running statistics are in the collection `batch_stats`."""
        norm = NormSettings(self.bn_momentum, self.bn_epsilon)
        transition = rematerialised(Transition, train, (2,), (CONVOLVED, STATISTICS))
        up_block = rematerialised(UpBlock, train, (3,), (CONVOLVED, STATISTICS))

        x = image_BDHWC.astype(jnp.dtype(self.dtype))
        x = Stem(self.in_channels, self.stem_channels, norm, name="stem")(x, train)
        skips = [x]
        x = max_pool(x)
        channels = self.stem_channels
        for count, layers in enumerate(self.block_layers, start=1):
            block = DenseBlock(
                channels,
                layers,
                self.growth_rate,
                self.bottleneck,
                self.separable,
                norm,
                remat=self.remat == "layer",
                name=f"block{count}",
            )
            x, channels = block(x, train), block.out_channels
            if count < len(self.block_layers):
                skips.append(x)
                compressed = math.floor(channels * self.compression)
                x = transition(channels, compressed, self.separable, norm, name=f"transition{count}")(
                    x, train
                )
                channels = compressed
        x = BatchNormReLU(channels, norm, name="norm")(x, train)

        maps = []
        for count, features in enumerate(self.decoder_channels, start=1):
            skip = skips.pop() if skips else None
            # The stem and the pool halve D too, so the last two stages double it again.
            axes = (1, 2, 3) if count > len(self.decoder_channels) - 2 else (2, 3)
            skip_channels = 0 if skip is None else skip.shape[-1]
            up = up_block(channels, skip_channels, features, axes, self.link, norm, name=f"up{count}")
            x, channels = up(x, skip, train), features
            maps.append(x)
        auxiliary = []
        if train or self.is_initializing():
            for level, coarse in enumerate(maps[-2::-1][: self.auxiliary_outputs], start=1):
                head = Head(coarse.shape[-1], self.num_classes, norm, name=f"auxiliary{level}")
                auxiliary.append(head(coarse, train))
        return Outputs(Head(channels, self.num_classes, norm, name="head")(x, train), tuple(auxiliary))
