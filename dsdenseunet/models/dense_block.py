"""Dense layers and blocks.

A block's layers do the same arithmetic on a growing number of channels. They run as one `lax.scan` over
a buffer that already has the block's last width, each layer's weights padded with zeros to that width:
the compiler sees one layer a block instead of 4 to 36. A channel that is not yet there meets a scale
and a kernel row of zero, so values and gradients are those of the layers run one by one
(`DenseLayer.__call__`, the definition, which the tests hold the scan against).

The statistics of a channel are the same for every later layer of the block: they are computed
once, when the channel is written.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array, lax

from dsdenseunet.models.layers import BatchNormReLU, Conv, NormSettings, convolve
from dsdenseunet.ops.batch_norm import moments, normalise_relu

Weights = dict[str, Any]
Moments = tuple[Array, Array]


class DenseLayer(nn.Module):
    """BN, ReLU, 1^3 conv to `bottleneck`; BN, ReLU, 3^3 depthwise; BN, ReLU, pointwise to `growth_rate`.

    Where not `separable`, the second part is BN, ReLU, one full 3^3 conv (paper, section 3).
    """

    in_channels: int
    growth_rate: int
    bottleneck: int
    separable: bool
    batch_norm: NormSettings

    def setup(self) -> None:
        """Declares the parts."""
        wide, norm = self.bottleneck, self.batch_norm
        self.norm1 = BatchNormReLU(self.in_channels, norm)
        self.conv1 = Conv(self.in_channels, wide, (1, 1, 1))
        self.norm2 = BatchNormReLU(wide, norm)
        if self.separable:
            self.depthwise = Conv(wide, wide, depthwise=True)
            self.norm3 = BatchNormReLU(wide, norm)
            self.pointwise = Conv(wide, self.growth_rate, (1, 1, 1), use_bias=False)
        else:
            self.conv2 = Conv(wide, self.growth_rate, use_bias=False)

    def parts(self) -> dict[str, nn.Module]:
        """The layer's modules by name, in order."""
        tail = ("depthwise", "norm3", "pointwise") if self.separable else ("conv2",)
        return {name: getattr(self, name) for name in ("norm1", "conv1", "norm2", *tail)}

    def weights(self) -> Weights:
        """Parameters and running statistics of all parts."""
        return {name: part.weights() for name, part in self.parts().items()}

    def update(self, batch_moments: dict[str, Moments]) -> None:
        """Moves the running statistics of the named normalisations."""
        for name, (mean, variance) in batch_moments.items():
            getattr(self, name).update(mean, variance)

    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """Returns the layer's `growth_rate` new channels."""
        first = moments(x_BDHWC) if train else None
        new_BDHWC, later = dense_layer(x_BDHWC, first, self.weights(), self.batch_norm.epsilon, train)
        if first is not None:
            self.update({"norm1": first, **later})
        return new_BDHWC


def dense_layer(
    x_BDHWC: Array, x_moments: Moments | None, weights: Weights, epsilon: float, train: bool
) -> tuple[Array, dict[str, Moments]]:
    """The arithmetic of a dense layer on given weights.

    Args:
        x_BDHWC: the block's features so far.
        x_moments: their mean and variance, where `train`.
        weights: as `DenseLayer.weights()`.
        epsilon: of the normalisations.
        train: batch statistics (True) or running ones.

    Returns:
        The new channels, and the batch's moments of the normalisations after the first.
    """
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


class DenseBlock(nn.Module):
    """`layers` dense layers, each fed with the concatenation of the block's input and all earlier outputs.

    `remat` = "layer" recomputes each layer in the backward pass, "block" the whole block at once.
    """

    in_channels: int
    layers: int
    growth_rate: int
    bottleneck: int
    separable: bool
    batch_norm: NormSettings
    remat: str = "none"

    @property
    def out_channels(self) -> int:
        """Channels of the block's output."""
        return self.in_channels + self.layers * self.growth_rate

    @nn.compact
    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """Returns (B, D, H, W, out_channels)."""
        modules = [
            DenseLayer(
                self.in_channels + i * self.growth_rate,
                self.growth_rate,
                self.bottleneck,
                self.separable,
                self.batch_norm,
                name=f"layer{i + 1:02d}",
            )
            for i in range(self.layers)
        ]
        weights = [module.weights() for module in modules]

        def run(x_BDHWC: Array, weights: list[Weights]) -> tuple[Array, Moments, dict[str, Moments]]:
            return _scan_layers(
                x_BDHWC, weights, self.growth_rate, self.batch_norm.epsilon, train, self.remat == "layer"
            )

        if self.remat == "block":
            run = jax.checkpoint(run)
        y_BDHWC, (mean, variance), later = run(x_BDHWC, weights)
        if train:
            for i, module in enumerate(modules):
                c = module.in_channels
                seen = {name: (m[i], v[i]) for name, (m, v) in later.items()}
                module.update({"norm1": (mean[:c], variance[:c]), **seen})
        return y_BDHWC


def _scan_layers(
    x_BDHWC: Array, weights: list[Weights], growth_rate: int, epsilon: float, train: bool, remat: bool
) -> tuple[Array, Moments, dict[str, Moments]]:
    """Returns the block's features, their moments, and the stacked moments of the inner normalisations."""
    new_channels = len(weights) * growth_rate
    in_channels = x_BDHWC.shape[-1]
    offsets = in_channels + growth_rate * jnp.arange(len(weights))
    padded = [_pad_input_channels(w, in_channels + new_channels) for w in weights]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *padded)

    def widen(values: Array) -> Array:
        return jnp.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, new_channels)])

    def layer(
        carry: tuple[Array, Moments], inputs: tuple[Weights, Array]
    ) -> tuple[tuple[Array, Moments], dict[str, Moments]]:
        buffer_BDHWC, (mean, variance) = carry
        layer_weights, offset = inputs
        new_BDHWC, seen = dense_layer(buffer_BDHWC, (mean, variance), layer_weights, epsilon, train)
        buffer_BDHWC = lax.dynamic_update_slice_in_dim(buffer_BDHWC, new_BDHWC, offset, axis=-1)
        if train:
            new_mean, new_variance = moments(new_BDHWC)
            mean = lax.dynamic_update_slice_in_dim(mean, new_mean, offset, axis=0)
            variance = lax.dynamic_update_slice_in_dim(variance, new_variance, offset, axis=0)
        return (buffer_BDHWC, (mean, variance)), seen

    if remat:
        layer = jax.checkpoint(layer)
    first = moments(x_BDHWC) if train else (jnp.zeros(in_channels), jnp.ones(in_channels))
    carry = (widen(x_BDHWC), jax.tree.map(widen, first))
    (buffer_BDHWC, last), seen = lax.scan(layer, carry, (stacked, offsets))
    return buffer_BDHWC, last, seen


def _pad_input_channels(weights: Weights, channels: int) -> Weights:
    """Pads what meets the block's features (first normalisation, rows of the 1^3 conv) with zeros."""
    missing = channels - weights["norm1"]["scale"].shape[0]
    kernel = weights["conv1"]["kernel"]
    rows = [(0, 0)] * 3 + [(0, missing), (0, 0)]
    return {
        **weights,
        "norm1": {name: jnp.pad(value, (0, missing)) for name, value in weights["norm1"].items()},
        "conv1": {**weights["conv1"], "kernel": jnp.pad(kernel, rows)},
    }
