"""RA-UNet (Jin et al. 2020, arXiv 1811.01328): a residual U-Net whose links are attended, in 2D or 3D.

Written after the layers and widths of the authors' release (RanSuLab/RAUNet-tumor-segmentation, commit
464ebfe), which is Keras for TensorFlow 1 and does not run with today's libraries: counts and shapes are held
to those of its networks by tests, values are not. Every convolution has a bias. The branch of a mask goes
down to the deepest map's sides whatever the level of its link; in 3D a patch's depth is a multiple of 32 too.

The authors train networks with one output, a sigmoid. With `num_classes` 1 the parameters are theirs: 737,897
in 2D (`filters` 4, to localise the liver) and 4,420,849 in 3D (`filters` 8, for liver and for tumour). Such a
network can be described, not trained: losses here take softmaxes over the classes of the task, which a last
convolution of as many outputs gives. In 2D the slices of a patch are independent.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from dsdenseunet.core.fields import choice, integer, number
from dsdenseunet.core.words import counted
from dsdenseunet.models import initialise
from dsdenseunet.models.layers import CONVOLVED, STATISTICS, BatchNormReLU, Conv, NormSettings, rematerialised
from dsdenseunet.models.network import Network, Operation, Outputs
from dsdenseunet.ops.pool import max_pool_pairs
from dsdenseunet.ops.upsample import upsample_nearest

_POINT = (1, 1, 1)
# Keras' default.
_EPSILON = 1e-3
Axes = tuple[int, ...]
Size = tuple[int, int, int]


class Residual(nn.Module):
    """Convolutions 1, 3, 1, each behind BN and ReLU, with a quarter of the channels; plus the input's 1 x 1.

    Attributes:
        features: of the output.
        size: of the middle convolution.
        norm: of all normalisations.
    """

    features: int
    size: Size
    norm: NormSettings

    @nn.compact
    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """(B, D, H, W, C) -> (B, D, H, W, features)."""
        channels, narrow = x_BDHWC.shape[-1], self.features // 4
        x = BatchNormReLU(channels, self.norm, name="norm1")(x_BDHWC, train)
        x = Conv(channels, narrow, _POINT, name="conv1")(x)
        x = BatchNormReLU(narrow, self.norm, name="norm2")(x, train)
        x = Conv(narrow, narrow, self.size, name="conv2")(x)
        x = BatchNormReLU(narrow, self.norm, name="norm3")(x, train)
        x = Conv(narrow, self.features, _POINT, name="conv3")(x)
        # A convolution even where the channels are the same already.
        return x + Conv(channels, self.features, _POINT, name="shortcut")(x_BDHWC)


class Attention(nn.Module):
    """A link's attention residual module: (1 + mask) times the trunk, with a residual unit before and after.

    The mask is the sigmoid of a small U-Net of residual units, whose sums are at `depth` - 1 levels.

    Attributes:
        depth: levels that the mask's branch goes down.
        axes: that it halves, of 1, 2, 3 = D, H, W.
        size: of the residual units' middle convolutions.
        norm: of all normalisations.
    """

    depth: int
    axes: Axes
    size: Size
    norm: NormSettings

    def operations(self) -> list[Operation]:
        """See `Operation`: what is not in the modules called."""
        return [Operation(f"mask over {counted(self.depth, 'level')} (pool, upsample, sigmoid)", counted=0)]

    @nn.compact
    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """Returns a map of the input's shape."""
        channels = x_BDHWC.shape[-1]

        def residual(x: Array, name: str) -> Array:
            return Residual(channels, self.size, self.norm, name=name)(x, train)

        x = residual(x_BDHWC, "before")
        trunk = residual(residual(x, "trunk1"), "trunk2")
        mask = residual(max_pool_pairs(x, self.axes), "down1")
        skips = []
        for level in range(1, self.depth):
            skips.append(residual(mask, f"skip{level}"))
            mask = residual(max_pool_pairs(mask, self.axes), f"down{level + 1}")
        for level in range(self.depth - 1, 0, -1):
            mask = upsample_nearest(residual(mask, f"up{level + 1}"), self.axes) + skips.pop()
        mask = upsample_nearest(residual(mask, "up1"), self.axes)
        mask = Conv(channels, channels, _POINT, name="mask1")(mask)
        mask = nn.sigmoid(Conv(channels, channels, _POINT, name="mask2")(mask))
        return residual((1 + mask) * trunk, "after")


class Down(nn.Module):
    """Maximum of pairs along `axes`, a residual unit."""

    features: int
    axes: Axes
    size: Size
    norm: NormSettings

    def operations(self) -> list[Operation]:
        """See `Operation`."""
        return [Operation("max pool", counted=0)]

    @nn.compact
    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """(B, D, H, W, C) -> (B, D/2, H/2, W/2, features), D as it is in 2D."""
        x = max_pool_pairs(x_BDHWC, self.axes)
        return Residual(self.features, self.size, self.norm, name="unit")(x, train)


class Beside(nn.Module):
    """Nearest upsampling, a map of the way down beside it, and what a kind of stage does with both.

    Attributes:
        features: of the output.
        axes: that are doubled, of 1, 2, 3 = D, H, W.
        size: of the convolution.
        norm: of all normalisations.
    """

    features: int
    axes: Axes
    size: Size
    norm: NormSettings

    def operations(self) -> list[Operation]:
        """See `Operation`."""
        return [Operation("upsample, concatenate")]

    def beside(self, x_BDHWC: Array, skip_BDHWC: Array) -> Array:
        """The upsampled map, and behind its channels those of `skip_BDHWC`."""
        return jnp.concatenate([upsample_nearest(x_BDHWC, self.axes), skip_BDHWC], axis=-1)


class Up(Beside):
    """With a residual unit; the map beside is the link's."""

    @nn.compact
    def __call__(self, x_BDHWC: Array, skip_BDHWC: Array, train: bool) -> Array:
        """Returns the upsampled map with `features` channels."""
        x = self.beside(x_BDHWC, skip_BDHWC)
        return Residual(self.features, self.size, self.norm, name="unit")(x, train)


class Last(Beside):
    """With a convolution, BN, ReLU; the map beside is the first convolution's."""

    @nn.compact
    def __call__(self, x_BDHWC: Array, skip_BDHWC: Array, train: bool) -> Array:
        """Returns the upsampled map with `features` channels."""
        x = self.beside(x_BDHWC, skip_BDHWC)
        x = Conv(x.shape[-1], self.features, self.size, name="conv")(x)
        return BatchNormReLU(self.features, self.norm, name="norm")(x, train)


class Stem(nn.Module):
    """Convolution, BN, ReLU."""

    features: int
    size: Size
    norm: NormSettings

    @nn.compact
    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """(B, D, H, W, C) -> (B, D, H, W, features)."""
        x = Conv(x_BDHWC.shape[-1], self.features, self.size, name="conv")(x_BDHWC)
        return BatchNormReLU(self.features, self.norm, name="norm")(x, train)


class RAUNet(Network):
    """See the module.

    Attributes:
        dimensions: 2 or 3; in 2D no layer looks across slices.
        filters: a quarter of the first maps' channels: 4 in RA-UNet-I (2D), 8 in RA-UNet-II (3D).
        levels: times that the sides are halved, 5; the channels double each time but the first.
        bn_momentum: of the running statistics.
        dtype: of activations; parameters, statistics and logits are float32.
        remat: none | unit: whether the backward pass computes all convolutions again; BN, ReLU, pooling and
            upsampling it always does.
    """

    dimensions: int
    filters: int
    levels: int
    bn_momentum: float
    dtype: str = "float32"
    remat: str = "none"

    remats: ClassVar = {"none": (), "unit": ("res", "attention", "up", "last")}
    dtypes: ClassVar = ("float32", "bfloat16")
    checks: ClassVar = {
        "in_channels": integer(1),
        "num_classes": integer(1),
        "dimensions": integer(2, 3),
        "filters": integer(1),
        "levels": integer(1),
        "bn_momentum": number(low=0, below=1),
        "dtype": choice(*dtypes),
        "remat": choice(*remats),
    }

    @property
    def stride(self) -> tuple[int, int, int]:
        """See `Network`."""
        factor = 2**self.levels
        return factor if self.dimensions == 3 else 1, factor, factor

    @nn.nowrap
    def first_values(self, seed: int = 0) -> dict[str, Any]:
        """Keras' default initialiser, drawn on the host."""
        return initialise.drawn(self, seed, initialise.glorot_uniform)

    @nn.compact
    def __call__(self, image_BDHWC: Array, train: bool) -> Outputs:
        """See `Network`; running statistics are in the collection `batch_stats`."""
        axes: Axes = (1, 2, 3) if self.dimensions == 3 else (2, 3)
        size = (3 if self.dimensions == 3 else 1, 3, 3)
        norm, base = NormSettings(self.bn_momentum, _EPSILON), 4 * self.filters
        kept = () if self.remat == "unit" else (CONVOLVED, STATISTICS)
        residual, down, attention = (
            rematerialised(module, train, (2,), kept) for module in (Residual, Down, Attention)
        )
        up, last = (rematerialised(module, train, (3,), kept) for module in (Up, Last))

        x = image_BDHWC.astype(jnp.dtype(self.dtype))
        stem = Stem(base, size, norm, name="stem")(x, train)
        skips, x = [], stem
        for level in range(self.levels):
            x = down(base * 2**level, axes, size, norm, name=f"res{level + 1}")(x, train)
            skips.append(x)
        x = residual(skips.pop().shape[-1], size, norm, name=f"res{self.levels}b")(x, train)
        for level in range(self.levels - 1, 0, -1):
            attend = attention(self.levels - level, axes, size, norm, name=f"attention{level}")
            attended = attend(skips.pop(), train)
            x = up(base * 2 ** (level - 1), axes, size, norm, name=f"up{level}")(x, attended, train)
        x = last(base, axes, size, norm, name="last")(x, stem, train)
        head = Conv(base, self.num_classes, size, name="head")
        return Outputs(head(x.astype(jnp.float32)))
