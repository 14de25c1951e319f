"""A small and fast U-Net of depthwise separable residual blocks, which never convolves at full resolution.

The image enters with the voxels of each 2^3 cube as channels, and the classes of a cube's voxels leave side
by side, so that the finest maps have an eighth of the voxels. Of all spatial convolutions only the stem's is
dense. A last link hands the image itself to the layer that gives the logits.

For an image of 32 x 48 x 32 voxels with one channel, three classes and the defaults (245,688 parameters):

    stem       space to depth, conv 3^3 8 -> 24, norm             16 x 24 x 16 x 24
    down1      space to depth, conv 1^3 192 -> 96, norm           8 x 12 x 8 x 96
    encoder1   5 residual blocks, hidden 192                      8 x 12 x 8 x 96
    up0        conv 1^3 96 -> 192, depth to space, plus the stem  16 x 24 x 16 x 24
    decoder0   1 residual block, hidden 48                        16 x 24 x 16 x 24
    head       norm, the image beside it, conv 1^3 32 -> 24       16 x 24 x 16 x 24
               depth to space                                     32 x 48 x 32 x 3
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array, lax

from dsdenseunet.core.fields import choice, integer, number, refusal, sequence, truth
from dsdenseunet.models.layers import Conv, InstanceNorm, convolution, convolve
from dsdenseunet.models.network import Network, Operation, Outputs
from dsdenseunet.ops.axes import depth_to_space, space_to_depth
from dsdenseunet.ops.instance_norm import instance_norm

_POINT = (1, 1, 1)
# Voxels over which what a place adds changes near a patch's border.
_BORDER = 5
# Of a block's last convolution: its sum with the input hardly differs from the input at first.
_LITTLE = 0.09


def residual_block(x_BDHWC: Array, weights: Mapping[str, Any], epsilon: float) -> Array:
    """One block: x + project(relu(expand(norm(depthwise(x))))), of the input's shape.

    Args:
        x_BDHWC: input.
        weights: of `depthwise` (3^3; or `conv`, in its place), `norm`, `expand` and `project` (1^3), as the
            layers have them.
        epsilon: of the normalisation.
    """
    separable = "depthwise" in weights
    y = convolve(x_BDHWC, weights["depthwise" if separable else "conv"], depthwise=separable)
    y = instance_norm(y, weights["norm"]["scale"], weights["norm"]["bias"], epsilon)
    y = nn.relu(convolve(y, weights["expand"]))
    return x_BDHWC + convolve(y, weights["project"])


class ResidualBlocks(nn.Module):
    """`count` residual blocks, one after the other, as one loop: the compiler sees one of them.

    Attributes:
        count: how many.
        channels: of the map.
        hidden: channels between a block's two 1^3 convolutions.
        epsilon: of the normalisations.
        remat: compute each block again in the backward pass, instead of keeping its maps.
        separable: whether the 3^3 convolution is depthwise.
    """

    count: int
    channels: int
    hidden: int
    epsilon: float
    remat: bool = False
    separable: bool = True

    def setup(self) -> None:
        """Declares the parts, each with the weights of all blocks."""
        count, channels, hidden = self.count, self.channels, self.hidden
        conv = Conv(channels, channels, depthwise=self.separable, use_bias=False, stack=count, gain=1)
        setattr(self, "depthwise" if self.separable else "conv", conv)
        self.norm = InstanceNorm(channels, self.epsilon, stack=count)
        self.expand = Conv(channels, hidden, _POINT, stack=count)
        self.project = Conv(hidden, channels, _POINT, use_bias=False, stack=count, gain=_LITTLE)

    def operations(self) -> list[list[Operation]]:
        """See `Operation`: those of each block, whose maps no module shows as all blocks run as one loop."""
        channels, hidden = self.channels, self.hidden
        block = [
            convolution(channels, channels, (3, 3, 3), depthwise=self.separable)._replace(kept=channels),
            Operation("instance norm", kept=channels),
            convolution(channels, hidden, _POINT)._replace(kept=hidden),
            Operation("ReLU", kept=hidden),
            convolution(hidden, channels, _POINT)._replace(kept=channels),
        ]
        return [block] * self.count

    def __call__(self, x_BDHWC: Array) -> Array:
        """Returns a map of the input's shape."""
        names = ("depthwise" if self.separable else "conv", "norm", "expand", "project")
        weights = {name: getattr(self, name).weights() for name in names}

        def block(x_BDHWC: Array, own: Any) -> tuple[Array, None]:
            return residual_block(x_BDHWC, own, self.epsilon), None

        run = jax.checkpoint(block) if self.remat else block
        if self.count == 1:
            return run(x_BDHWC, jax.tree.map(lambda leaf: leaf[0], weights))[0]
        return lax.scan(run, x_BDHWC, weights)[0]


class Down(nn.Module):
    """Space to depth, a convolution, instance norm: half the sides.

    Attributes:
        in_channels: of the input.
        features: of the output.
        size: of the convolution.
        epsilon: of the normalisation.
        gain: see `Conv`.
    """

    in_channels: int
    features: int
    size: tuple[int, int, int]
    epsilon: float
    gain: float

    @nn.compact
    def __call__(self, x_BDHWC: Array) -> Array:
        """(B, D, H, W, in_channels) -> (B, D/2, H/2, W/2, features)."""
        conv = Conv(8 * self.in_channels, self.features, self.size, gain=self.gain, name="conv")
        return InstanceNorm(self.features, self.epsilon, name="norm")(conv(space_to_depth(x_BDHWC)))


class Up(nn.Module):
    """1^3 convolution and depth to space, which is a transposed 2^3 convolution, plus the encoder's map."""

    in_channels: int
    features: int

    @nn.compact
    def __call__(self, x_BDHWC: Array, skip_BDHWC: Array) -> Array:
        """(B, D, H, W, in_channels) -> (B, 2 D, 2 H, 2 W, features), the shape of `skip_BDHWC`."""
        x = Conv(self.in_channels, 8 * self.features, _POINT, gain=1, name="conv")(x_BDHWC)
        return depth_to_space(x) + skip_BDHWC


def places(sides: Sequence[int], stride: Sequence[int]) -> np.ndarray:
    """Where the voxels of a coarse map lie in the patch, by smooth functions of each coordinate by itself.

    Args:
        sides: of the map, (D, H, W).
        stride: the patch's voxels for one of the map, along each axis.

    Returns:
        float32 (D, H, W, 12). For each axis the place u between -1 and 1 at the patch's ends, its square,
        and the hyperbolic tangent of the distance to either end, where 0 is `_BORDER` voxels inside.
    """
    found: list[np.ndarray] = []
    for axis, (side, step) in enumerate(zip(sides, stride, strict=True)):
        voxel, last = step * (np.arange(side) + 0.5) - 0.5, step * side - 1
        u = (2 * voxel - last) / (last + 1)
        below, above = (np.tanh((end - _BORDER) / _BORDER) for end in (voxel, last - voxel))
        others = tuple(other for other in range(3) if other != axis)
        found += [np.expand_dims(values, others) for values in (u, u**2, below, above)]
    return np.stack(np.broadcast_arrays(*found), axis=-1).astype(np.float32)


class Head(nn.Module):
    """Logits of every voxel of a cube from one voxel of the finest map and from the image.

    Attributes:
        in_channels: of the map.
        image_channels: of the image, 0 without the link.
        num_classes: of the output.
        epsilon: of the normalisation.
        foreground_share: see `SeparableUNet`.
    """

    in_channels: int
    image_channels: int
    num_classes: int
    epsilon: float
    foreground_share: float

    @nn.compact
    def __call__(self, x_BDHWC: Array, image_BDHWC: Array) -> Array:
        """(B, D/2, H/2, W/2, in_channels) and the image to float32 logits (B, D, H, W, num_classes)."""
        x = InstanceNorm(self.in_channels, self.epsilon, name="norm")(x_BDHWC).astype(jnp.float32)
        if self.image_channels:
            x = jnp.concatenate([x, space_to_depth(image_BDHWC)], axis=-1)
        channels = self.in_channels + 8 * self.image_channels
        x = Conv(channels, 8 * self.num_classes, _POINT, use_bias=False, gain=1, name="conv")(x)
        foreground = [self.foreground_share / (self.num_classes - 1)] * (self.num_classes - 1)
        prior = np.tile(np.log([1 - self.foreground_share, *foreground]), 8)
        bias = self.param("bias", lambda _: jnp.asarray(prior, jnp.float32))
        return depth_to_space(x + bias)


class SeparableUNet(Network):
    """See the module.

    Attributes:
        widths: channels of the levels, of which the first has half the image's sides.
        encoder_blocks: residual blocks of each level on the way down (of the last: at the bottom).
        decoder_blocks: residual blocks of each level but the last on the way up, the finest first.
        expansion: hidden channels of a block, as a multiple of its channels.
        image_link: whether the last layer sees the image.
        places: whether the coarsest map is told where in the patch its voxels lie, see `places`: for patches
            that lie alike in all images, such as those that hold nearly a whole one.
        separable: whether the blocks' 3^3 convolutions are depthwise; full ones are for comparison.
        norm_epsilon: added to variances.
        foreground_share: of voxels, by which the logits' first bias is the logarithm of each class' share.
        dtype: of activations; parameters and logits are float32.
        remat: none | block: whether the backward pass computes residual blocks again.
        auxiliary_outputs: maps with logits of their own in training, from the finest one, of half the
            image's sides, on.
    """

    widths: tuple[int, ...] = (24, 96)
    encoder_blocks: tuple[int, ...] = (0, 5)
    decoder_blocks: tuple[int, ...] = (1,)
    expansion: int = 2
    image_link: bool = True
    places: bool = False
    separable: bool = True
    norm_epsilon: float = 1e-5
    foreground_share: float = 0.06
    dtype: str = "float32"
    remat: str = "none"
    auxiliary_outputs: int = 0

    remats: ClassVar = {"none": (), "block": ("encoder", "decoder")}
    dtypes: ClassVar = ("float32", "bfloat16")
    checks: ClassVar = {
        "in_channels": integer(1),
        "num_classes": integer(2),
        "widths": sequence(integer(1), shortest=1),
        "encoder_blocks": sequence(integer(0)),
        "decoder_blocks": sequence(integer(0)),
        "expansion": integer(1),
        "image_link": truth,
        "norm_epsilon": number(above=0),
        "foreground_share": number(above=0, below=1),
        "dtype": choice(*dtypes),
        "remat": choice(*remats),
        "auxiliary_outputs": integer(0),
    }

    @classmethod
    def check_together(cls, values: Mapping[str, Any]) -> None:
        """Numbers of levels; what configs of before it do not have."""
        for name in ("places", "separable"):
            if wanted := truth(values.get(name, False)):
                raise refusal(f"model.{name}", repr(values[name]), wanted)
        levels = len(values["widths"])
        for name, needed in (("encoder_blocks", levels), ("decoder_blocks", levels - 1)):
            if len(values[name]) != needed:
                found = f"{len(values[name])} values for {levels} widths"
                raise refusal(f"model.{name}", found, f"{needed} values")
        if values["auxiliary_outputs"] > levels:
            found = f"{values['auxiliary_outputs']} for {levels} levels"
            raise refusal("model.auxiliary_outputs", found, f"at most {levels}")

    @property
    def stride(self) -> tuple[int, int, int]:
        """See `Network`."""
        factor = 2 ** len(self.widths)
        return factor, factor, factor

    @nn.compact
    def __call__(self, image_BDHWC: Array, train: bool) -> Outputs:
        """See `Network`."""
        epsilon = self.norm_epsilon

        def blocks(count: int, x_BDHWC: Array, name: str) -> Array:
            if not count:
                return x_BDHWC
            channels = x_BDHWC.shape[-1]
            hidden, remat = self.expansion * channels, self.remat == "block"
            separable = self.separable
            return ResidualBlocks(count, channels, hidden, epsilon, remat, separable, name=name)(x_BDHWC)

        x = image_BDHWC.astype(jnp.dtype(self.dtype))
        skips: list[Array] = []
        for level, (width, count) in enumerate(zip(self.widths, self.encoder_blocks, strict=True)):
            if level:
                x = Down(x.shape[-1], width, _POINT, epsilon, gain=1, name=f"down{level}")(x)
            else:
                x = Down(self.in_channels, width, (3, 3, 3), epsilon, gain=2, name="stem")(x)
            if self.places and level == len(self.widths) - 1:
                where = places(x.shape[1:4], self.stride)
                x += Conv(where.shape[-1], width, _POINT, name="places")(jnp.asarray(where[None], x.dtype))
            x = blocks(count, x, f"encoder{level}")
            skips.append(x)
        maps = [skips.pop()]
        for level in reversed(range(len(skips))):
            x = Up(x.shape[-1], self.widths[level], name=f"up{level}")(x, skips[level])
            x = blocks(self.decoder_blocks[level], x, f"decoder{level}")
            maps.insert(0, x)
        auxiliary = []
        if train or self.is_initializing():
            for level, coarse in enumerate(maps[: self.auxiliary_outputs], start=1):
                conv = Conv(coarse.shape[-1], self.num_classes, _POINT, gain=1, name=f"auxiliary{level}")
                auxiliary.append(conv(coarse.astype(jnp.float32)))
        channels = self.in_channels if self.image_link else 0
        head = Head(x.shape[-1], channels, self.num_classes, epsilon, self.foreground_share, name="head")
        return Outputs(head(x, image_BDHWC), tuple(auxiliary))
