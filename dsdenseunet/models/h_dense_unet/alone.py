"""One of H-DenseUNet's two dense U-Nets by itself: 3D DenseUNet-65, or the 2D DenseUNet-167 on slices.

The released code sums maps of the encoder into the decoder in one 2D network only; the paper shows such sums
in both. In 3D the code has them commented out, in a form that cannot work, so that where they were is not
known: `link` offers both places that fit. With one channel, three classes and the release's widths:

    3D, `none`      15,903,211 parameters (16,001,995 with four channels)
    3D, `after`     250,488 more: one convolution brings the deepest map to its sum
    3D, `before`    425,744 more: four do
    2D, `none`      45,082,275 parameters, three adjacent slices of one channel
    2D, `before`    49,747,779: one convolution; "DenseUNet-167" counts it

In 2D the image's slices are independent: what the authors feed as batches of slices with their neighbours is
a patch here, whose outermost slices stand in for the neighbour that is missing. So labels of all slices of a
patch are learned, and batch statistics are those of adjacent slices, where the authors drew slices of
different patients. They start from DenseNet-161's ImageNet weights, which this project does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from dsdenseunet.core.fields import choice, integer, number, refusal, sequence
from dsdenseunet.models import initialise
from dsdenseunet.models.h_dense_unet.branch import Branch, as_type, check_branch, first_value_2d
from dsdenseunet.models.h_dense_unet.parts import LINKS
from dsdenseunet.models.layers import Conv
from dsdenseunet.models.network import Network, Outputs
from dsdenseunet.models.slices import AdjacentSlices


class DenseUNetAlone(Network):
    """See the module.

    Attributes:
        dimensions: 2 or 3; in 2D no layer but the first looks across slices.
        slices: adjacent slices that each slice is seen with, itself included; odd, 1 in 3D.
        block_layers: dense layers of each block.
        growth_rate: channels that a dense layer adds.
        bottleneck: channels of the 1 x 1 convolution in a dense layer.
        stem_channels: channels of the stem.
        compression: share of channels that a transition keeps.
        decoder_channels: channels of the upsampling stages, one more than there are blocks.
        link: none | before | after: where the encoder's maps are added in the decoder's stages, if at all.
        dropout_rate: of the last upsampling stage.
        bn_momentum: of the running statistics.
        dtype: of activations; parameters, statistics and logits are float32.
        remat: none | layer: convolutions that the backward pass computes again (none, those of dense layers);
            normalisations, ReLUs and upsampling always are.
    """

    dimensions: int
    slices: int
    block_layers: tuple[int, ...]
    growth_rate: int
    bottleneck: int
    stem_channels: int
    compression: float
    decoder_channels: tuple[int, ...]
    link: str
    dropout_rate: float
    bn_momentum: float
    dtype: str = "float32"
    remat: str = "none"

    remats: ClassVar = {"none": (), "layer": ("block",)}
    dtypes: ClassVar = ("float32", "bfloat16")
    checks: ClassVar = {
        "in_channels": integer(1),
        "num_classes": integer(2),
        "dimensions": integer(2, 3),
        "slices": integer(1),
        "block_layers": sequence(integer(1), shortest=1),
        "growth_rate": integer(1),
        "bottleneck": integer(1),
        "stem_channels": integer(1),
        "compression": number(above=0, high=1),
        "decoder_channels": sequence(integer(1)),
        "link": choice(*LINKS),
        "dropout_rate": number(low=0, below=1),
        "bn_momentum": number(low=0, below=1),
        "dtype": choice(*dtypes),
        "remat": choice(*remats),
    }

    @classmethod
    def check_together(cls, values: Mapping[str, Any]) -> None:
        """Numbers of stages, channels and slices."""
        check_branch(values, "block_layers", "decoder_channels", values["compression"])
        if values["slices"] % 2 == 0 or (values["dimensions"] == 3 and values["slices"] > 1):
            found = f"{values['slices']} in {values['dimensions']}D"
            raise refusal("model.slices", found, "an odd number, and 1 in 3D, where all slices are seen")

    @nn.nowrap
    def branch(self) -> Branch:
        """The network but for its first and its last layer."""
        return Branch(
            dimensions=self.dimensions,
            block_layers=self.block_layers,
            growth_rate=self.growth_rate,
            bottleneck=self.bottleneck,
            stem_channels=self.stem_channels,
            compression=self.compression,
            decoder_channels=self.decoder_channels,
            link=self.link,
            dropout_rate=self.dropout_rate,
            momentum=self.bn_momentum,
            remat=self.remat == "layer",
        )

    @property
    def stride(self) -> tuple[int, int, int]:
        """See `Network`."""
        return self.branch().stride

    @nn.nowrap
    def first_values(self, seed: int = 0) -> dict[str, Any]:
        """The release's initialisers, drawn on the host."""
        draw = first_value_2d if self.dimensions == 2 else initialise.glorot_uniform
        return initialise.drawn(self, seed, draw)

    @nn.compact
    def __call__(self, image_BDHWC: Array, train: bool) -> Outputs:
        """See `Network`; running statistics are in the collection `batch_stats`."""
        x = as_type(image_BDHWC, self.dtype)
        if self.slices > 1:
            x = AdjacentSlices(self.slices, name="slices")(x)
        x = self.branch()(x, train)
        head = Conv(x.shape[-1], self.num_classes, (1, 1, 1), name="head")
        return Outputs(head(x.astype(jnp.float32)))
