"""MedNeXt's blocks: depthwise convolution, norm and two 1^3 convolutions, and what they are added to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name

from dsdenseunet.models.layers import CONVOLVED, Conv, InstanceNorm, convolution, convolve
from dsdenseunet.models.network import Operation
from dsdenseunet.ops.depthwise import transposed_depthwise_conv
from dsdenseunet.ops.gelu import gelu
from dsdenseunet.ops.instance_norm import instance_norm

_POINT, _TWO = (1, 1, 1), (2, 2, 2)
# A depthwise convolution of a map by its weights.
Spatial = Callable[[Array, dict[str, Array]], Array]


def branch(x_BDHWC: Array, weights: Mapping[str, Any], epsilon: float, spatial: Spatial) -> Array:
    """What a block adds: project(gelu(expand(norm(depthwise(x))))).

    The norm is over each channel by itself: group norm with as many groups as channels.

    Args:
        x_BDHWC: input.
        weights: of `depthwise`, `norm`, `expand` and `project`, as the layers have them.
        epsilon: of the normalisation.
        spatial: the depthwise convolution.
    """
    y = spatial(x_BDHWC, weights["depthwise"])
    y = instance_norm(y, weights["norm"]["scale"], weights["norm"]["bias"], epsilon)
    y = gelu(convolve(y, weights["expand"]))
    return convolve(y, weights["project"])


def same(x_BDHWC: Array, weights: dict[str, Array]) -> Array:
    """Depthwise convolution."""
    return convolve(x_BDHWC, weights, depthwise=True)


def halved(x_BDHWC: Array, weights: dict[str, Array]) -> Array:
    """Depthwise convolution with a stride of 2."""
    return convolve(x_BDHWC, weights, _TWO, depthwise=True)


def doubled(x_BDHWC: Array, weights: dict[str, Array]) -> Array:
    """Transposed depthwise convolution with a stride of 2: sides n become 2 n - 1."""
    y = transposed_depthwise_conv(x_BDHWC, weights["kernel"].astype(x_BDHWC.dtype), _TWO)
    return checkpoint_name(y + weights["bias"].astype(y.dtype), CONVOLVED)


class Branch(nn.Module):
    """The weights of `branch`, and of `residual` where there is one.

    Attributes:
        in_channels: of the input.
        features: of the output.
        hidden: channels between the two 1^3 convolutions.
        size: sides of the depthwise kernel.
        epsilon: of the normalisation.
        remat: compute all of it again in the backward pass; else only norm and GELU.
        stack: how many blocks it holds the weights of, see `Conv`; 0: of one, without that axis.
        resamples: whether it has a residual convolution.
    """

    in_channels: int
    features: int
    hidden: int
    size: tuple[int, int, int]
    epsilon: float
    remat: bool
    stack: int = 0
    resamples: bool = False

    def setup(self) -> None:
        """Declares the parts."""
        channels, hidden, features, stack = self.in_channels, self.hidden, self.features, self.stack
        self.depthwise = Conv(channels, channels, self.size, depthwise=True, stack=stack)
        self.norm = InstanceNorm(channels, self.epsilon, stack=stack)
        self.expand = Conv(channels, hidden, _POINT, stack=stack)
        self.project = Conv(hidden, features, _POINT, stack=stack)
        if self.resamples:
            self.residual = Conv(channels, features, _POINT)

    def weights(self) -> dict[str, dict[str, Array]]:
        """By part, to be used outside it."""
        names = ("depthwise", "norm", "expand", "project", *(("residual",) if self.resamples else ()))
        return {name: getattr(self, name).weights() for name in names}

    def rematerialised(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of which the backward pass keeps what `remat` says."""
        names = () if self.remat else (CONVOLVED,)
        return jax.checkpoint(function, policy=jax.checkpoint_policies.save_only_these_names(*names))

    def layers(self) -> list[Operation]:
        """Of the branch, as if it kept the map's sides."""
        channels, hidden, features = self.in_channels, self.hidden, self.features
        return [
            convolution(channels, channels, self.size, depthwise=True)._replace(kept=channels),
            Operation("instance norm", kept=channels),
            convolution(channels, hidden, _POINT)._replace(kept=hidden),
            Operation("GELU", kept=hidden),
            convolution(hidden, features, _POINT)._replace(kept=features),
        ]


class Blocks(Branch):
    """`stack` residual blocks, one after the other, as one loop: the compiler sees one of them."""

    def operations(self) -> list[list[Operation]]:
        """See `Operation`: those of each block, whose maps no module shows as all blocks run as one loop."""
        return [self.layers()] * self.stack

    def __call__(self, x_BDHWC: Array) -> Array:
        """Returns a map of the input's shape."""

        def block(x_BDHWC: Array, own: Any) -> tuple[Array, None]:
            return x_BDHWC + branch(x_BDHWC, own, self.epsilon, same), None

        run, weights = self.rematerialised(block), self.weights()
        if self.stack == 1:
            return run(x_BDHWC, jax.tree.map(lambda leaf: leaf[0], weights))[0]
        return lax.scan(run, x_BDHWC, weights)[0]


class Down(Branch):
    """A block with a stride of 2."""

    def operations(self) -> list[Operation]:
        """See `Operation`."""
        depthwise, *rest = self.layers()
        strided = convolution(self.in_channels, self.in_channels, self.size, _TWO, depthwise=True)
        return [
            strided._replace(kept=depthwise.kept),
            *rest,
            convolution(self.in_channels, self.features, _POINT, _TWO),
        ]

    def __call__(self, x_BDHWC: Array) -> Array:
        """(B, D, H, W, in_channels) -> (B, D/2, H/2, W/2, features)."""

        def block(x_BDHWC: Array, own: Any) -> Array:
            every_second = x_BDHWC[:, ::2, ::2, ::2]
            return branch(x_BDHWC, own, self.epsilon, halved) + convolve(every_second, own["residual"])

        return self.rematerialised(block)(x_BDHWC, self.weights())


class Up(Branch):
    """A block that doubles the sides, plus the encoder's map.

    Its transposed convolutions give sides of 2 n - 1; in front of them, along every axis, the block adds 0.
    """

    def operations(self) -> list[Operation]:
        """See `Operation`; each of the input's voxels, an eighth of the output's, meets each tap once."""
        depthwise, *rest = self.layers()
        residual = convolution(self.in_channels, self.features, _POINT)
        return [
            depthwise._replace(text=f"transposed {depthwise.text} by 2", macs=depthwise.macs // 8),
            *rest,
            residual._replace(text=f"transposed {residual.text} by 2", macs=residual.macs // 8),
        ]

    def __call__(self, x_BDHWC: Array, skip_BDHWC: Array) -> Array:
        """(B, D, H, W, in_channels) -> (B, 2 D, 2 H, 2 W, features), the shape of `skip_BDHWC`."""

        def block(x_BDHWC: Array, own: Any) -> Array:
            y = branch(x_BDHWC, own, self.epsilon, doubled)
            # A transposed 1^3 convolution: zeros between the voxels, the bias everywhere.
            apart = convolve(x_BDHWC, {"kernel": own["residual"]["kernel"]})
            between = [(0, 0, 0), *[(0, 0, 1)] * 3, (0, 0, 0)]
            y += lax.pad(apart, jnp.zeros((), apart.dtype), between)
            y += own["residual"]["bias"].astype(y.dtype)
            return jnp.pad(y, [(0, 0), *[(1, 0)] * 3, (0, 0)])

        return self.rematerialised(block)(x_BDHWC, self.weights()) + skip_BDHWC
