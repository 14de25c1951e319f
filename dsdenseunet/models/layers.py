"""Layers that the networks share: convolutions and BN + ReLU with explicit channel counts."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array
from jax.ad_checkpoint import checkpoint_name

from dsdenseunet.models import initialise
from dsdenseunet.models.network import Operation
from dsdenseunet.ops.batch_norm import moments, normalise_relu
from dsdenseunet.ops.conv import conv3d, pointwise_conv
from dsdenseunet.ops.depthwise import depthwise_conv
from dsdenseunet.ops.instance_norm import instance_norm

CONVOLVED, STATISTICS = "convolved", "statistics"


def rematerialised(
    module: type[nn.Module], train: bool, static: tuple[int, ...] = (), kept: tuple[str, ...] = ()
) -> Any:
    """A module of which the backward pass computes all again but what is kept; as it is where not `train`.

    Args:
        module: the class.
        train: whether there is a backward pass.
        static: places of its call's arguments that are no arrays, the module being 0.
        kept: `CONVOLVED`, results of convolutions, and `STATISTICS` of normalisations.
    """
    policy = jax.checkpoint_policies.save_only_these_names(*kept)
    return nn.remat(module, static_argnums=static, policy=policy) if train else module


def kernel_init(gain: float = 2.0) -> nn.initializers.Initializer:
    """Normal with variance gain / fan_in; a gain of 2 keeps activations' scale through ReLUs, 1 without them.

    NumPy draws the values on the host: compiling JAX's generator takes a second a kernel.
    """

    def draw(key: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        return initialise.normal(shape, gain / initialise.fan_in(shape), np.random.default_rng(key))

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        drawn = jax.ShapeDtypeStruct(shape, jnp.float32)
        data = jax.random.key_data(key)
        return jax.pure_callback(lambda key: draw(np.asarray(key), shape), drawn, data).astype(dtype)

    return init


class NormSettings(NamedTuple):
    """Batch normalisation: `momentum` of the running statistics, `epsilon` added to the variance."""

    momentum: float
    epsilon: float


class Conv(nn.Module):
    """Convolution padded by k // 2 on both sides.

    The kernel has the shape that `lax.conv_general_dilated` asks for: (kd, kh, kw, C_in, C_out), or
    (kd, kh, kw, 1, C) with `feature_group_count` = C where `depthwise`. With `stack` = L it holds the
    weights of L layers, one axis in front of each, for a `lax.scan` over them. `gain` is the kernel's first
    variance times its fan-in.
    """

    in_channels: int
    features: int
    size: tuple[int, int, int] = (3, 3, 3)
    stride: tuple[int, int, int] = (1, 1, 1)
    depthwise: bool = False
    use_bias: bool = True
    stack: int = 0
    gain: float = 2.0

    def setup(self) -> None:
        """Declares the parameters."""
        fan = 1 if self.depthwise else self.in_channels
        lead = (self.stack,) if self.stack else ()
        shape = (*lead, *self.size, fan, self.features)
        self.kernel = self.param("kernel", kernel_init(self.gain), shape)
        if self.use_bias:
            self.bias = self.param("bias", nn.initializers.zeros_init(), (*lead, self.features))

    def weights(self) -> dict[str, Array]:
        """This layer's parameters, to be used outside it."""
        return {"kernel": self.kernel} | ({"bias": self.bias} if self.use_bias else {})

    def operations(self) -> list[Operation]:
        """See `Operation`."""
        return [convolution(self.in_channels, self.features, self.size, self.stride, self.depthwise)]

    def __call__(self, x_BDHWC: Array) -> Array:
        """Returns the convolved map, of the input's type."""
        return convolve(x_BDHWC, self.weights(), self.stride, self.depthwise)


class DoublingConv(Conv):
    """A transposed convolution of 2^3 with stride 2, as one of 1^3 in front of `ops.axes.depth_to_space`."""

    def operations(self) -> list[Operation]:
        """See `Operation`."""
        return [Operation("transposed conv 2^3 by 2", self.in_channels * self.features)]


def convolution(
    in_channels: int,
    features: int,
    size: tuple[int, int, int],
    stride: tuple[int, int, int] = (1, 1, 1),
    depthwise: bool = False,
) -> Operation:
    """A convolution's words and multiply-adds."""
    side = f"{size[0]}^3" if len(set(size)) == 1 else "x".join(map(str, size))
    strided = f" by {' x '.join(map(str, stride))}" if set(stride) != {1} else ""
    macs = math.prod(size) * (1 if depthwise else in_channels) * features
    return Operation(f"{'depthwise' if depthwise else 'conv'} {side}{strided}", macs)


def convolve(
    x_BDHWC: Array,
    weights: dict[str, Array],
    stride: tuple[int, int, int] = (1, 1, 1),
    depthwise: bool = False,
) -> Array:
    """Applies a `Conv`'s weights, cast to the input's type."""
    kernel = weights["kernel"].astype(x_BDHWC.dtype)
    if depthwise:
        y = depthwise_conv(x_BDHWC, kernel, stride)
    elif kernel.shape[:3] == (1, 1, 1):
        y = pointwise_conv(x_BDHWC, kernel)
    else:
        y = conv3d(x_BDHWC, kernel, stride)
    y = y + weights["bias"].astype(y.dtype) if "bias" in weights else y
    return checkpoint_name(y, CONVOLVED)


class BatchNormReLU(nn.Module):
    """Batch normalisation and ReLU. Running statistics live in the collection `batch_stats`.

    With `stack` = L it holds the weights of L layers, as `Conv` does.
    """

    channels: int
    settings: NormSettings
    stack: int = 0

    def setup(self) -> None:
        """Declares the parameters."""
        shape = (self.stack, self.channels) if self.stack else (self.channels,)
        self.scale = self.param("scale", nn.initializers.ones_init(), shape)
        self.bias = self.param("bias", nn.initializers.zeros_init(), shape)
        self.mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        self.variance = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)

    def weights(self) -> dict[str, Array]:
        """Parameters and running statistics, to be used outside this layer."""
        return {
            "scale": self.scale,
            "bias": self.bias,
            "mean": self.mean.value,
            "variance": self.variance.value,
        }

    def operations(self) -> list[Operation]:
        """See `Operation`."""
        return [Operation("BN, ReLU", counted=2)]

    def update(self, mean: Array, variance: Array) -> None:
        """Moves the running statistics towards a batch's: old * momentum + new * (1 - momentum)."""
        if not self.is_initializing():
            m = self.settings.momentum
            self.mean.value = m * self.mean.value + (1 - m) * mean
            self.variance.value = m * self.variance.value + (1 - m) * variance

    def statistics(self, x_BDHWC: Array, train: bool) -> tuple[Array, Array]:
        """Mean and variance: where `train` the batch's, which move the running ones, else those."""
        if not train:
            return self.mean.value, self.variance.value
        mean, variance = checkpoint_name(moments(x_BDHWC), STATISTICS)
        self.update(mean, variance)
        return mean, variance

    def __call__(self, x_BDHWC: Array, train: bool) -> Array:
        """Normalises by `statistics`; returns the input's type."""
        mean, variance = self.statistics(x_BDHWC, train)
        return normalise_relu(x_BDHWC, mean, variance, self.scale, self.bias, self.settings.epsilon)


class InstanceNorm(nn.Module):
    """Instance normalisation, which has no running statistics. With `stack` as `Conv`.

    `first_scale` is what its scale starts with.
    """

    channels: int
    epsilon: float
    stack: int = 0
    first_scale: float = 1.0

    def setup(self) -> None:
        """Declares the parameters."""
        shape = (self.stack, self.channels) if self.stack else (self.channels,)
        self.scale = self.param("scale", nn.initializers.constant(self.first_scale), shape)
        self.bias = self.param("bias", nn.initializers.zeros_init(), shape)

    def weights(self) -> dict[str, Array]:
        """This layer's parameters, to be used outside it."""
        return {"scale": self.scale, "bias": self.bias}

    def operations(self) -> list[Operation]:
        """See `Operation`."""
        return [Operation("instance norm")]

    def __call__(self, x_BDHWC: Array) -> Array:
        """Returns the normalised map, of the input's type."""
        return instance_norm(x_BDHWC, self.scale, self.bias, self.epsilon)
