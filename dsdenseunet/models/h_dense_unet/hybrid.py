"""H-DenseUNet: a 2D dense U-Net on slices, a 3D one that is told its scores, and their last maps' fusion.

The 3D network gets the image and the 2D network's logits; the sum of both last maps goes through a 3^3
convolution, dropout, BN and ReLU to the head. As released (one channel, three classes, no UNet sums in 2D) it
has 61,195,054 parameters and 249,568 running statistics. The authors train it in three stages, which are
phases here, each with its own `stage`:

    slices        the 2D network alone, on its own scores; there is nothing else yet
    volume        3D network and fusion, beside the 2D network as it is, which the phase freezes
    end_to_end    everything, but that most normalisations keep their running statistics
    together      not theirs: everything at once, from random weights, all by the batch's statistics

In `volume` and `end_to_end` the 2D network normalises by running statistics in training too, in `end_to_end`
the 3D network's dense blocks and transitions as well; what normalisations multiply by is frozen by the phase.
Not as there: the image is -1 to 1 here, where theirs is -248 to 202, so that their factor of 250 before the
logits is 250 / 225; any number of patches makes a batch, theirs is one; and the 2D network's own loss, which
the paper adds and the release does not, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from dsdenseunet.core.fields import choice, integer, number, refusal, sequence
from dsdenseunet.models import initialise
from dsdenseunet.models.h_dense_unet.branch import DECODER_EPSILON, Branch, as_type, check_branch
from dsdenseunet.models.layers import BatchNormReLU, Conv, NormSettings
from dsdenseunet.models.network import Network, Operation, Outputs
from dsdenseunet.models.slices import AdjacentSlices

STAGES = ("slices", "volume", "end_to_end", "together")
_POINT = (1, 1, 1)
_COMPRESSION = 0.5
# 250 for an image in Hounsfield units; the paper's window is 225 of them either way.
_SCORES = 250 / 225
# Stages that normalise by running statistics in training, by what is trained.
_RUNNING: dict[str, tuple[str, ...]] = {
    "slices": (),
    "volume": ("slices",),
    "end_to_end": ("slices", "volume_block", "volume_transition"),
    "together": (),
}


class WithScores(nn.Module):
    """The image, and behind it the 2D network's logits times a factor."""

    def operations(self) -> list[Operation]:
        """See `Operation`."""
        return [Operation("logits beside the image", counted=0)]

    @nn.compact
    def __call__(self, logits_BDHWC: Array, image_BDHWC: Array) -> Array:
        """(B, D, H, W, classes) and (B, D, H, W, C) -> (B, D, H, W, C + classes), of the image's type."""
        scores = (_SCORES * logits_BDHWC).astype(image_BDHWC.dtype)
        return jnp.concatenate([image_BDHWC, scores], axis=-1)


class Fusion(nn.Module):
    """Sum of two maps, 3^3 convolution that keeps their channels, dropout, BN, ReLU."""

    dropout_rate: float
    norm: NormSettings

    def operations(self) -> list[Operation]:
        """See `Operation`."""
        return [Operation("sum", counted=0)]

    @nn.compact
    def __call__(self, volume_BDHWC: Array, slices_BDHWC: Array, train: bool) -> Array:
        """Returns a map of the inputs' shape."""
        channels = volume_BDHWC.shape[-1]
        x = Conv(channels, channels, name="conv")(volume_BDHWC + slices_BDHWC)
        x = nn.Dropout(self.dropout_rate, deterministic=not train, name="dropout")(x)
        return BatchNormReLU(channels, self.norm, name="norm")(x, train)


class HDenseUNet(Network):
    """See the module.

    Attributes:
        stage: slices | volume | end_to_end | together: what is trained; with `slices` there is nothing else.
        slices_blocks: dense layers of the 2D network's blocks.
        slices_growth: channels that one of its dense layers adds.
        slices_decoder: channels of its upsampling stages, one more than there are blocks.
        slices_link: none | before: whether its encoder's maps are added in its decoder.
        volume_blocks, volume_growth, volume_decoder: the same of the 3D network, which has no such sums; both
            decoders end with the same number of channels.
        stem_channels: of both stems. Bottlenecks are four times the growth.
        slices_dropout: of the 2D network's last upsampling stage, where it is trained alone.
        dropout_rate: of the fusion.
        bn_momentum: of the running statistics.
        dtype: of activations; parameters, statistics and logits are float32.
        remat: none | layer: convolutions that the backward pass computes again (none, those of dense layers).
    """

    stage: str
    slices_blocks: tuple[int, ...]
    slices_growth: int
    slices_decoder: tuple[int, ...]
    slices_link: str
    volume_blocks: tuple[int, ...]
    volume_growth: int
    volume_decoder: tuple[int, ...]
    stem_channels: int
    slices_dropout: float
    dropout_rate: float
    bn_momentum: float
    dtype: str = "float32"
    remat: str = "none"

    remats: ClassVar = {"none": (), "layer": ("slices_block", "volume_block")}
    dtypes: ClassVar = ("float32", "bfloat16")
    checks: ClassVar = {
        "in_channels": integer(1),
        "num_classes": integer(2),
        "stage": choice(*STAGES),
        "slices_blocks": sequence(integer(1), shortest=1),
        "slices_growth": integer(1),
        "slices_decoder": sequence(integer(1)),
        "slices_link": choice("none", "before"),
        "volume_blocks": sequence(integer(1), shortest=1),
        "volume_growth": integer(1),
        "volume_decoder": sequence(integer(1)),
        "stem_channels": integer(1),
        "slices_dropout": number(low=0, below=1),
        "dropout_rate": number(low=0, below=1),
        "bn_momentum": number(low=0, below=1),
        "dtype": choice(*dtypes),
        "remat": choice(*remats),
    }

    @classmethod
    def check_together(cls, values: Mapping[str, Any]) -> None:
        """Numbers of stages and channels."""
        for part in ("slices", "volume"):
            check_branch(values, f"{part}_blocks", f"{part}_decoder", _COMPRESSION)
        last = values["slices_decoder"][-1]
        if values["volume_decoder"][-1] != last:
            found = f"{values['volume_decoder'][-1]} channels at last"
            raise refusal("model.volume_decoder", found, f"{last}, as slices_decoder, which it is added to")

    @nn.nowrap
    def branch(self, part: str) -> Branch:
        """The 2D network, `slices`, or the 3D one, `volume`, up to its last map."""
        is_2d = part == "slices"
        growth = self.slices_growth if is_2d else self.volume_growth
        return Branch(
            dimensions=2 if is_2d else 3,
            block_layers=self.slices_blocks if is_2d else self.volume_blocks,
            growth_rate=growth,
            bottleneck=4 * growth,
            stem_channels=self.stem_channels,
            compression=_COMPRESSION,
            decoder_channels=self.slices_decoder if is_2d else self.volume_decoder,
            link=self.slices_link if is_2d else "none",
            dropout_rate=self.slices_dropout if is_2d and self.stage == "slices" else 0.0,
            momentum=self.bn_momentum,
            remat=self.remat == "layer",
            prefix=f"{part}_",
        )

    @property
    def stride(self) -> tuple[int, int, int]:
        """See `Network`; the same in all stages, so that a patch fits them all."""
        sides = zip(self.branch("slices").stride, self.branch("volume").stride, strict=True)
        depth, height, width = (max(pair) for pair in sides)
        return depth, height, width

    @nn.nowrap
    def first_values(self, seed: int = 0) -> dict[str, Any]:
        """Keras' default initialiser, drawn on the host, as the release's hybrid has it in both networks."""
        return initialise.drawn(self, seed, initialise.glorot_uniform)

    @nn.compact
    def __call__(self, image_BDHWC: Array, train: bool) -> Outputs:
        """See `Network`; running statistics are in the collection `batch_stats`."""

        def logits(x_BDHWC: Array, name: str) -> Array:
            conv = Conv(x_BDHWC.shape[-1], self.num_classes, _POINT, name=name)
            return conv(x_BDHWC.astype(jnp.float32))

        running = _RUNNING[self.stage]
        image = as_type(image_BDHWC, self.dtype)
        slices = self.branch("slices")(AdjacentSlices(3, name="slices")(image), train, running)
        scores = logits(slices, "slices_head")
        if self.stage == "slices":
            return Outputs(scores)
        with_scores = WithScores(name="volume")(scores, image)
        volume = self.branch("volume")(with_scores, train, running)
        fusion = Fusion(self.dropout_rate, NormSettings(self.bn_momentum, DECODER_EPSILON), name="fusion")
        return Outputs(logits(fusion(volume, slices, train), "head"))
