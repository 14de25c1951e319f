"""Dense layers as arithmetic on arrays: one layer, and all layers of a block in one loop.

The layers of a block do the same on a growing number of channels. They run as one `lax.scan` over a
buffer that already has the block's last width, each layer's weights padded with zeros to that width: the
compiler sees one layer a block instead of 4 to 36. A channel that is not yet there meets a scale and a kernel
row of zero, so values and gradients are those of `dense_layer` run layer by layer, which is the
definition and what the tests hold the loop against.

For the same reason a layer's gradient can be taken on the finished buffer. The backward pass keeps that one
buffer, not one a layer, and of each layer only what its later convolutions were fed from;
normalisations and ReLUs are computed again, convolutions are not (unless asked to be).

The statistics of a channel are the same for every later layer of the block: they are computed
once, when the channel is written.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from dsdenseunet.models.layers import convolve
from dsdenseunet.ops.batch_norm import moments, normalise_relu

Weights = dict[str, Any]

# What a layer does: normalisation, ReLU and convolution, two or three times.
_SEPARABLE = (("norm1", "conv1"), ("norm2", "depthwise"), ("norm3", "pointwise"))
_FULL = (("norm1", "conv1"), ("norm2", "conv2"))


class Features(NamedTuple):
    """A map (B, D, H, W, C) and the (C,) mean and variance that normalise it; or the gradients of these."""

    values: Array
    mean: Array
    variance: Array


def features_of(values_BDHWC: Array) -> Features:
    """The map with its own statistics."""
    return Features(values_BDHWC, *moments(values_BDHWC))


def dense_layer(x: Features, weights: Weights, epsilon: float, train: bool) -> tuple[Array, list[Features]]:
    """One dense layer (paper, section 3).

    BN, ReLU, 1^3 conv to the bottleneck; BN, ReLU, 3^3 depthwise; BN, ReLU, pointwise. Where the weights have
    no depthwise part, what follows the bottleneck is BN, ReLU and one full 3^3 conv.

    Args:
        x: the block's features so far.
        weights: parameters by name, as `dense_block.unstack` gives them, and running statistics.
        epsilon: of the normalisations.
        train: whether the normalisations after the first use the batch's statistics.

    Returns:
        The new channels, and what the second and third normalisation were given.
    """
    (first_norm, first_conv), *later = _parts(weights)
    y_BDHWC = _norm_relu_conv(x, weights[first_norm], weights[first_conv], first_conv, epsilon)
    inputs = []
    for norm, conv in later:
        own = weights[norm]
        y = features_of(y_BDHWC) if train else Features(y_BDHWC, own["mean"], own["variance"])
        y_BDHWC = _norm_relu_conv(y, own, weights[conv], conv, epsilon)
        inputs.append(y)
    return y_BDHWC, inputs


def run_layers(x_BDHWC: Array, weights: Weights, epsilon: float) -> Array:
    """All layers of a block with running statistics.

    Args:
        x_BDHWC: the block's input.
        weights: of all layers, the layers along the first axis, padded to the block's last width.
        epsilon: of the normalisations.

    Returns:
        The block's features, (B, D, H, W, C + layers * growth).
    """

    def layer(buffer_BDHWC: Array, inputs: tuple[Weights, Array]) -> tuple[Array, None]:
        own, offset = inputs
        known = Features(buffer_BDHWC, own["norm1"]["mean"], own["norm1"]["variance"])
        new_BDHWC, _ = dense_layer(known, own, epsilon, train=False)
        return lax.dynamic_update_slice_in_dim(buffer_BDHWC, new_BDHWC, offset, axis=-1), None

    offsets = _offsets(x_BDHWC.shape[-1], weights)
    buffer_BDHWC, _ = lax.scan(layer, _widen(x_BDHWC, weights), (weights, offsets))
    return buffer_BDHWC


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def train_layers(
    x_BDHWC: Array, weights: Weights, epsilon: float, remat: bool
) -> tuple[Features, list[tuple[Array, Array]]]:
    """All layers of a block with the batch's statistics.

    Args:
        x_BDHWC: the block's input.
        weights: of all layers, the layers along the first axis, padded to the block's last width.
        epsilon: of the normalisations.
        remat: compute each layer's convolutions again in the backward pass, and keep only the buffer.

    Returns:
        The block's features with their statistics; mean and variance, the layers along the first axis, of
        what the second and third normalisation of each layer are given (no gradient comes from these).
    """
    return _train_forward(x_BDHWC, weights, epsilon, remat)[0]


def _train_forward(x_BDHWC: Array, weights: Weights, epsilon: float, remat: bool) -> tuple[Any, Any]:
    def layer(buffer: Features, inputs: tuple[Weights, Array]) -> tuple[Features, Any]:
        own, offset = inputs
        new_BDHWC, later = dense_layer(buffer, own, epsilon, train=True)
        buffer = jax.tree.map(
            lambda old, new: lax.dynamic_update_slice_in_dim(old, new, offset, axis=-1),
            buffer,
            features_of(new_BDHWC),
        )
        seen = [(y.mean, y.variance) for y in later]
        return buffer, (seen, None if remat else [y.values for y in later])

    start = jax.tree.map(lambda array: _widen(array, weights), features_of(x_BDHWC))
    offsets = _offsets(x_BDHWC.shape[-1], weights)
    buffer, (seen, kept) = lax.scan(layer, start, (weights, offsets))
    return (buffer, seen), (buffer, seen, kept, weights)


def _train_backward(epsilon: float, remat: bool, residuals: Any, gradients: Any) -> tuple[Array, Weights]:
    buffer, seen, kept, weights = residuals
    gradient, _ = gradients
    growth_rate = weights[_parts(weights)[-1][1]]["kernel"].shape[-1]
    layers = len(weights["norm1"]["scale"])
    in_channels = buffer.mean.size - layers * growth_rate

    def layer(gradient: Features, inputs: tuple[Any, ...]) -> tuple[Features, Weights]:
        own, offset, statistics, maps = inputs
        if remat:
            _, later = dense_layer(buffer, own, epsilon, train=True)
        else:
            later = [Features(values, *known) for values, known in zip(maps, statistics)]
        cut = functools.partial(lax.dynamic_slice_in_dim, start_index=offset, slice_size=growth_rate, axis=-1)
        new_gradient = _through_statistics(jax.tree.map(cut, buffer), jax.tree.map(cut, gradient))
        by_buffer, by_weights = _layer_gradient([buffer, *later], own, new_gradient, epsilon)
        return jax.tree.map(jnp.add, gradient, by_buffer), by_weights

    offsets = _offsets(in_channels, weights)
    gradient, by_weights = lax.scan(layer, gradient, (weights, offsets, seen, kept), reverse=True)
    x, x_gradient = (
        jax.tree.map(lambda array: array[..., :in_channels], part) for part in (buffer, gradient)
    )
    return _through_statistics(x, x_gradient), by_weights


train_layers.defvjp(_train_forward, _train_backward)


def _layer_gradient(
    inputs: list[Features], weights: Weights, gradient_BDHWC: Array, epsilon: float
) -> tuple[Features, Weights]:
    """Gradients by a layer's features and by its weights; `inputs` is what each normalisation was given."""
    by_weights: Weights = {}
    for (norm, conv), x in zip(reversed(_parts(weights)), reversed(inputs)):
        part = functools.partial(_norm_relu_conv, name=conv, epsilon=epsilon)
        _, pull = jax.vjp(part, x, weights[norm], weights[conv])
        by_x, by_weights[norm], by_weights[conv] = pull(gradient_BDHWC)
        gradient_BDHWC = _through_statistics(x, by_x)
    return by_x, by_weights


def _norm_relu_conv(x: Features, norm: Weights, conv: Weights, name: str, epsilon: float) -> Array:
    y_BDHWC = normalise_relu(*x, norm["scale"], norm["bias"], epsilon)
    return convolve(y_BDHWC, conv, depthwise=name == "depthwise")


def _through_statistics(x: Features, gradient: Features) -> Array:
    """Gradient by a map, given those by the map itself and by its mean and variance."""
    count = x.values.size // x.mean.size
    by_statistics = (gradient.mean + 2 * gradient.variance * (x.values - x.mean)) / count
    return gradient.values + by_statistics.astype(gradient.values.dtype)


def _parts(weights: Weights) -> tuple[tuple[str, str], ...]:
    return _SEPARABLE if "depthwise" in weights else _FULL


def _widen(array: Array, weights: Weights) -> Array:
    """Zeros after the last axis, up to the block's last width."""
    missing = weights["norm1"]["scale"].shape[-1] - array.shape[-1]
    return jnp.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)])


def _offsets(in_channels: int, weights: Weights) -> Array:
    """Where each layer writes its channels."""
    layers, width = weights["norm1"]["scale"].shape
    return in_channels + (width - in_channels) // layers * jnp.arange(layers)
