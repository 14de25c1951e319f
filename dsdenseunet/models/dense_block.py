"""Dense layers and blocks.

A block's layers do the same arithmetic on a growing number of channels. They run as one `lax.scan` over
a buffer that already has the block's last width, each layer's weights padded with zeros to that width:
the compiler sees one layer a block instead of 4 to 36. A channel that is not yet there meets a scale
and a kernel row of zero, so values and gradients are those of `dense_layer` run layer by layer on
`unstack`ed weights, which is the definition and what the tests hold the scan against.

The statistics of a channel are the same for every later layer of the block: they are computed
once, when the channel is written.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array, lax

from dsdenseunet.models.layers import BatchNormReLU, Conv, NormSettings, convolve
from dsdenseunet.ops.batch_norm import moments, normalise_relu
from dsdenseunet.ops.ragged import pad_rows, split_rows

Weights = dict[str, Any]
Moments = tuple[Array, Array]


def dense_layer(
    x_BDHWC: Array, x_moments: Moments | None, weights: Weights, epsilon: float
) -> tuple[Array, dict[str, Moments]]:
    """One dense layer (paper, section 3).

    BN, ReLU, 1^3 conv to the bottleneck; BN, ReLU, 3^3 depthwise; BN, ReLU, pointwise. Where the weights have
    no depthwise part, what follows the bottleneck is BN, ReLU and one full 3^3 conv.

    Args:
        x_BDHWC: the block's features so far.
        x_moments: their mean and variance, to normalise by the batch; None: by running statistics.
        weights: parameters and running statistics by name, as in `unstack`.
        epsilon: of the normalisations.

    Returns:
        The new channels, and the batch's moments of the normalisations after the first.
    """
    train = x_moments is not None
    seen: dict[str, Moments] = {}

    def norm(name: str, y: Array, known: Moments | None = None) -> Array:
        part = weights[name]
        if train:
            mean, variance = known or moments(y)
            if known is None:
                seen[name] = (mean, variance)
        else:
            mean, variance = part["mean"], part["variance"]
        return normalise_relu(y, mean, variance, part["scale"], part["bias"], epsilon)

    y = convolve(norm("norm1", x_BDHWC, x_moments), weights["conv1"])
    y = norm("norm2", y)
    if "depthwise" in weights:
        y = norm("norm3", convolve(y, weights["depthwise"], depthwise=True))
        return convolve(y, weights["pointwise"]), seen
    return convolve(y, weights["conv2"]), seen


class FirstConvs(nn.Module):
    """The 1^3 convs of a block's layers, which meet ever more channels: kernels row under row.

    Attributes:
        sizes: input channels of each layer.
        features: output channels of each.
    """

    sizes: tuple[int, ...]
    features: int

    def setup(self) -> None:
        """Declares the parameters."""
        deviation = np.sqrt(2 / row_fan_in(self.sizes))[:, None]

        def init(key: Array, shape: tuple[int, ...]) -> Array:
            return jax.random.normal(key, shape) * deviation.astype(np.float32)

        self.kernel = self.param("kernel", init, (sum(self.sizes), self.features))
        self.bias = self.param("bias", nn.initializers.zeros_init(), (len(self.sizes), self.features))

    def weights(self) -> dict[str, Array]:
        """This module's parameters."""
        return {"kernel": self.kernel, "bias": self.bias}


class DenseBlock(nn.Module):
    """`layers` dense layers, each fed with the concatenation of the block's input and all earlier outputs.

    What all layers have in one shape is held in one array with the layers in front; what meets the growing
    features (first normalisation, first conv) row under row. `unstack` gives each layer's own.

    Attributes:
        in_channels: of the block's input.
        layers: their number.
        growth_rate: channels that each adds.
        bottleneck: channels of the 1^3 conv in a layer.
        separable: depthwise separable or full 3^3 convs.
        batch_norm: of all normalisations.
        remat: "layer" recomputes each layer in the backward pass, "block" the whole block, "none" nothing.
    """

    in_channels: int
    layers: int
    growth_rate: int
    bottleneck: int
    separable: bool
    batch_norm: NormSettings
    remat: str = "none"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Input channels of each layer."""
        return layer_sizes(self.in_channels, self.layers, self.growth_rate)

    @property
    def out_channels(self) -> int:
        """Channels of the block's output."""
        return self.in_channels + self.layers * self.growth_rate

    def setup(self) -> None:
        """Declares the parts."""
        wide, growth, count, norm = self.bottleneck, self.growth_rate, self.layers, self.batch_norm
        self.norm1 = BatchNormReLU(sum(self.sizes), norm)
        self.conv1 = FirstConvs(self.sizes, wide)
        self.norm2 = BatchNormReLU(wide, norm, stack=count)
        if self.separable:
            self.depthwise = Conv(wide, wide, depthwise=True, stack=count)
            self.norm3 = BatchNormReLU(wide, norm, stack=count)
            self.pointwise = Conv(wide, growth, (1, 1, 1), use_bias=False, stack=count)
        else:
            self.conv2 = Conv(wide, growth, use_bias=False, stack=count)

    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """Returns (B, D, H, W, out_channels)."""
        tail = ("depthwise", "norm3", "pointwise") if self.separable else ("conv2",)
        parts = {name: getattr(self, name) for name in ("norm1", "conv1", "norm2", *tail)}
        weights = {name: part.weights() for name, part in parts.items()}
        run = functools.partial(
            _scan_layers,
            sizes=self.sizes,
            epsilon=self.batch_norm.epsilon,
            train=train,
            remat=self.remat == "layer",
        )
        y_BDHWC, batch, later = (jax.checkpoint(run) if self.remat == "block" else run)(x_BDHWC, weights)
        if batch is not None:
            mean, variance = batch
            channels = np.concatenate([np.arange(size) for size in self.sizes])
            self.norm1.update(jnp.take(mean, channels), jnp.take(variance, channels))
            for name, batch_moments in later.items():
                parts[name].update(*batch_moments)
        return y_BDHWC


def layer_sizes(in_channels: int, layers: int, growth_rate: int) -> tuple[int, ...]:
    """Input channels of each layer of a block."""
    return tuple(in_channels + growth_rate * index for index in range(layers))


def row_fan_in(sizes: tuple[int, ...]) -> np.ndarray:
    """Fan-in of each row of `FirstConvs`' kernel: the input channels of its layer."""
    return np.repeat(sizes, sizes)


def unstack(weights: Mapping[str, Any], sizes: tuple[int, ...]) -> list[Weights]:
    """Each layer's own weights, in the shapes of its convolutions.

    Args:
        weights: a block's parameters or its running statistics, or both in one dict, part by part.
        sizes: input channels of each layer, `DenseBlock.sizes`.
    """
    layers: list[Weights] = [{} for _ in sizes]
    for part, values in weights.items():
        for name, value in values.items():
            ragged = part == "norm1" or (part, name) == ("conv1", "kernel")
            own = split_rows(value, sizes) if ragged else list(value)
            if (part, name) == ("conv1", "kernel"):
                own = [kernel[None, None, None] for kernel in own]
            for layer, array in zip(layers, own, strict=True):
                layer.setdefault(part, {})[name] = array
    return layers


def _scan_layers(
    x_BDHWC: Array, weights: Weights, *, sizes: tuple[int, ...], epsilon: float, train: bool, remat: bool
) -> tuple[Array, Moments | None, dict[str, Moments]]:
    """Returns the block's features, their moments (where `train`) and, stacked, those inside the layers."""
    in_channels = x_BDHWC.shape[-1]
    growth_rate = weights["pointwise" if "pointwise" in weights else "conv2"]["kernel"].shape[-1]
    new_channels = len(sizes) * growth_rate
    pad = functools.partial(pad_rows, sizes=sizes, width=in_channels + new_channels)
    stacked = {
        **weights,
        "norm1": {name: pad(value) for name, value in weights["norm1"].items()},
        "conv1": {
            "kernel": pad(weights["conv1"]["kernel"])[:, None, None, None],
            "bias": weights["conv1"]["bias"],
        },
    }

    def widen(values: Array) -> Array:
        return jnp.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, new_channels)])

    def layer(
        carry: tuple[Array, Moments | None], inputs: tuple[Weights, Array]
    ) -> tuple[tuple[Array, Moments | None], dict[str, Moments]]:
        buffer_BDHWC, known = carry
        layer_weights, offset = inputs
        new_BDHWC, seen = dense_layer(buffer_BDHWC, known, layer_weights, epsilon)
        buffer_BDHWC = lax.dynamic_update_slice_in_dim(buffer_BDHWC, new_BDHWC, offset, axis=-1)
        if known is not None:
            mean, variance = (
                lax.dynamic_update_slice_in_dim(old, new, offset, axis=0)
                for old, new in zip(known, moments(new_BDHWC))
            )
            known = (mean, variance)
        return (buffer_BDHWC, known), seen

    if remat:
        layer = jax.checkpoint(layer)
    known = jax.tree.map(widen, moments(x_BDHWC)) if train else None
    offsets = in_channels + growth_rate * jnp.arange(len(sizes))
    (buffer_BDHWC, known), seen = lax.scan(layer, (widen(x_BDHWC), known), (stacked, offsets))
    return buffer_BDHWC, known, seen
