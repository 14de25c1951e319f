"""MedNeXt (Roy et al., MICCAI 2023, arXiv 2303.09975): a U-Net of depthwise separable residual blocks.

As MIC-DKFZ/MedNeXt has it (commit 0b78ed8). For an image of 128^3 voxels with one channel, three classes and
the defaults, MedNeXt-S with kernels 3^3 (5,550,947 parameters; 5,553,839 with four auxiliary outputs):

    stem                   conv 1^3 1 -> 32                        128^3 x 32
    encoder0               2 residual blocks                       128^3 x 32
    down0                  depthwise by 2, conv 1^3 to 64           64^3 x 64
    encoder1 .. down3      the same with twice the channels          8^3 x 512
    bottleneck             2 residual blocks                         8^3 x 512
    up3                    transposed depthwise by 2, to 256        16^3 x 256
                           plus encoder3
    decoder3               2 residual blocks                        16^3 x 256
    up2 .. decoder0        the same with half the channels         128^3 x 32
    head                   conv 1^3 32 -> 3                        128^3 x 3

Wherever a map is halved or doubled a 1^3 convolution of the same stride takes the place of the identity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.traverse_util
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from dsdenseunet.core.fields import choice, integer, number, odd, refusal, sequence
from dsdenseunet.models import initialise
from dsdenseunet.models.layers import Conv
from dsdenseunet.models.mednext_blocks import Blocks, Branch, Down, Up
from dsdenseunet.models.network import Network, Outputs, abstract_variables

_POINT = (1, 1, 1)


def _resized(array: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Linearly interpolated along an axis, with half-pixel centres, the values at the ends beyond them."""
    old = array.shape[axis]
    places = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
    below = np.minimum(places.astype(int), max(old - 2, 0))
    shares = np.zeros((size, old), array.dtype)
    shares[np.arange(size), below] = 1 - (places - below)
    shares[np.arange(size), np.minimum(below + 1, old - 1)] += places - below
    return np.moveaxis(np.tensordot(shares, array, (1, axis)), 0, axis)


class MedNeXt(Network):
    """See the module.

    Attributes:
        width: channels of the finest maps; each halving doubles them.
        blocks: residual blocks of the stages: those on the way down, the bottleneck, those on the way up.
        expansion: of the same stages, hidden channels of a block as a multiple of its channels. Where a map
            is halved or doubled that of the stage it leads to counts.
        kernel_size: side of the depthwise kernels.
        norm_epsilon: added to variances.
        dtype: of activations; parameters and logits are float32.
        remat: none | block: whether the backward pass computes whole blocks again, of which only the
            convolutions' results are kept otherwise.
        auxiliary_outputs: stages from the one of half the image's sides down to the bottleneck that have
            logits of their own in training.
    """

    width: int = 32
    blocks: tuple[int, ...] = (2, 2, 2, 2, 2, 2, 2, 2, 2)
    expansion: tuple[int, ...] = (2, 2, 2, 2, 2, 2, 2, 2, 2)
    kernel_size: int = 3
    norm_epsilon: float = 1e-5
    dtype: str = "float32"
    remat: str = "none"
    auxiliary_outputs: int = 0

    remats: ClassVar = {"none": (), "block": ("encoder", "down", "bottleneck", "up", "decoder")}
    dtypes: ClassVar = ("float32", "bfloat16")
    checks: ClassVar = {
        "in_channels": integer(1),
        "num_classes": integer(2),
        "width": integer(1),
        "blocks": sequence(integer(1), shortest=3),
        "expansion": sequence(integer(1)),
        "kernel_size": odd,
        "norm_epsilon": number(above=0),
        "dtype": choice(*dtypes),
        "remat": choice(*remats),
        "auxiliary_outputs": integer(0),
    }

    @classmethod
    def check_together(cls, values: Mapping[str, Any]) -> None:
        """Numbers of stages."""
        stages = len(values["blocks"])
        if stages % 2 == 0:
            raise refusal("model.blocks", f"{stages} values", "an odd number: as many up as down")
        if len(values["expansion"]) != stages:
            found = f"{len(values['expansion'])} values for {stages} stages"
            raise refusal("model.expansion", found, f"{stages} values")
        if values["auxiliary_outputs"] > stages // 2:
            found = f"{values['auxiliary_outputs']} for {stages} stages"
            raise refusal("model.auxiliary_outputs", found, f"at most {stages // 2}")

    @property
    def stride(self) -> tuple[int, int, int]:
        """See `Network`."""
        factor = 2 ** (len(self.blocks) // 2)
        return factor, factor, factor

    @nn.nowrap
    def first_values(self, seed: int = 0) -> dict[str, Any]:
        """PyTorch's own, which the authors keep: kernels and biases even within 1 / sqrt(fan_in) of 0.

        Of transposed 1^3 convolutions PyTorch takes the outputs for the inputs; the authors' heads are such.
        """
        shapes = flax.traverse_util.flatten_dict(abstract_variables(self)["params"])

        def draw(path: initialise.Path, shape: initialise.Shape, rng: np.random.Generator) -> np.ndarray:
            if path[-2] == "norm":
                return np.full(shape, 1.0 if path[-1] == "scale" else 0.0, np.float32)
            kernel = shapes[(*path[:-1], "kernel")].shape
            transposed = path[0].startswith(("head", "auxiliary"))
            transposed |= path[0].startswith("up") and path[1] == "residual"
            fan = kernel[-1] if transposed else initialise.fan_in(kernel)
            return initialise.uniform(shape, 1 / math.sqrt(fan), rng)

        return initialise.drawn(self, seed, draw)

    @nn.nowrap
    def adapted(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """UpKern: depthwise kernels of another side, resized trilinearly to that of this network."""
        flat = flax.traverse_util.flatten_dict(params)
        for path, value in flat.items():
            if path[-2:] == ("depthwise", "kernel"):
                for axis in (-5, -4, -3):
                    value = _resized(value, axis, self.kernel_size)
                flat[path] = value
        return flax.traverse_util.unflatten_dict(flat)

    @nn.compact
    def __call__(self, image_BDHWC: Array, train: bool) -> Outputs:
        """See `Network`."""
        size, epsilon, remat = (self.kernel_size,) * 3, self.norm_epsilon, self.remat == "block"
        levels = len(self.blocks) // 2

        def blocks(stage: int, x_BDHWC: Array, name: str) -> Array:
            channels, count = x_BDHWC.shape[-1], self.blocks[stage]
            hidden = self.expansion[stage] * channels
            return Blocks(channels, channels, hidden, size, epsilon, remat, count, name=name)(x_BDHWC)

        def resample(kind: type[Branch], stage: int, channels: int, features: int, name: str) -> Any:
            hidden = self.expansion[stage] * channels
            return kind(channels, features, hidden, size, epsilon, remat, resamples=True, name=name)

        x = image_BDHWC.astype(jnp.dtype(self.dtype))
        x = Conv(self.in_channels, self.width, _POINT, name="stem")(x)
        skips: list[Array] = []
        for level in range(levels):
            skips.append(blocks(level, x, f"encoder{level}"))
            width = self.width * 2**level
            x = resample(Down, level + 1, width, 2 * width, f"down{level}")(skips[-1])
        maps = [blocks(levels, x, "bottleneck")]
        for level in reversed(range(levels)):
            width, stage = self.width * 2**level, 2 * levels - level
            x = resample(Up, stage, 2 * width, width, f"up{level}")(maps[0], skips[level])
            maps.insert(0, blocks(stage, x, f"decoder{level}"))

        def logits(x_BDHWC: Array, name: str) -> Array:
            conv = Conv(x_BDHWC.shape[-1], self.num_classes, _POINT, name=name)
            return conv(x_BDHWC.astype(jnp.float32))

        auxiliary = []
        if train or self.is_initializing():
            coarser = maps[1 : 1 + self.auxiliary_outputs]
            auxiliary = [logits(x, f"auxiliary{level}") for level, x in enumerate(coarser, start=1)]
        return Outputs(logits(maps[0], "head"), tuple(auxiliary))
