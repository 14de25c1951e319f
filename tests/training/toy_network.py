"""A network as a newcomer would add it: Flax's own layers, no batch statistics, one coarser output."""

from typing import ClassVar

import jax
from flax import linen as nn

from dsdenseunet.core.fields import integer
from dsdenseunet.models.network import Network, Outputs


class ToyNetwork(Network):
    """Convolution, group normalisation, ReLU; logits, and in training logits of every second voxel."""

    features: int
    auxiliary_outputs: int = 0

    checks: ClassVar = {"features": integer(1), "auxiliary_outputs": integer(0, 1)}

    @property
    def stride(self) -> tuple[int, int, int]:
        return 1, 2, 2

    @nn.compact
    def __call__(self, image_BDHWC: jax.Array, train: bool) -> Outputs:
        x = nn.Conv(self.features, (3, 3, 3))(image_BDHWC)
        x = nn.relu(nn.GroupNorm(num_groups=1)(x))
        logits = nn.Conv(self.num_classes, (1, 1, 1), name="head")(x)
        if self.auxiliary_outputs and (train or self.is_initializing()):
            coarse = nn.Conv(self.num_classes, (1, 1, 1), name="coarse")(x[:, :, ::2, ::2])
            return Outputs(logits, (coarse,))
        return Outputs(logits)
