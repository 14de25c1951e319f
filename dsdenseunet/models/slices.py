"""What makes a 2.5D network of a 2D one: each slice of a patch with its neighbours as channels."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from dsdenseunet.models.network import Operation


class AdjacentSlices(nn.Module):
    """Puts slices beside each other along the channels; the outermost ones stand in for what is missing.

    Attributes:
        count: slices that each slice is seen with, itself in their middle; odd.
    """

    count: int

    def operations(self) -> list[Operation]:
        """See `Operation`."""
        return [Operation(f"{self.count} adjacent slices", counted=0)]

    @nn.compact
    def __call__(self, x_BDHWC: Array) -> Array:
        """(B, D, H, W, C) -> (B, D, H, W, count * C), the channels of the first slice first."""
        depth, reach = x_BDHWC.shape[1], self.count // 2
        padded = jnp.pad(x_BDHWC, [(0, 0), (reach, reach), *[(0, 0)] * 3], mode="edge")
        return jnp.concatenate([padded[:, i : i + depth] for i in range(self.count)], axis=-1)
