"""A network's output averaged over mirrored images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import jax
import numpy as np
from numpy.typing import NDArray

from dsdenseunet.inference.sliding_window import Network


def averaged(network: Callable[[jax.Array, NDArray[np.bool_]], jax.Array], axes: Sequence[int]) -> Network:
    """The mean of a network's output over all combinations of mirrored axes, the unmirrored one first.

    Args:
        network: of patches, and of which of D, H, W are mirrored before it and back after it.
        axes: of 0, 1, 2 = D, H, W, those that are mirrored.
    """
    choices = [(False, True) if axis in axes else (False,) for axis in range(3)]
    flips = [np.array(flip) for flip in itertools.product(*choices)]

    def mean(patches_BDHWC: jax.Array) -> jax.Array:
        total = network(patches_BDHWC, flips[0])
        for flip in flips[1:]:
            total += network(patches_BDHWC, flip)
        return total / len(flips) if len(flips) > 1 else total

    return mean
