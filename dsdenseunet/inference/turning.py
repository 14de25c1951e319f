"""A network's output averaged over turned images."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from numpy.typing import NDArray

from dsdenseunet.inference.sliding_window import Network

# The diagonals of a cube: as few turns as favour no direction, as they add up to none.
DIAGONALS = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))


def averaged_over_turns(network: Network, degrees: float, spacing_mm: Sequence[float]) -> Network:
    """The mean of a network's output for a patch as it lies, and turned about each diagonal of a cube.

    Turned patches are interpolated linearly, and so is what the network says of them when it is turned back;
    beyond a patch lie the values of its border. Five passes in place of one.

    Args:
        network: of patches.
        degrees: of each turn; 0 for none.
        spacing_mm: millimetres between the voxels (D, H, W): it is the body that is turned.
    """
    if degrees == 0:
        return network
    turns = [turn_about(axis, math.radians(degrees), spacing_mm) for axis in DIAGONALS]

    def mean(patches_BDHWC: jax.Array) -> jax.Array:
        total = network(patches_BDHWC)
        for turn in turns:
            total += _sampled(network(_sampled(patches_BDHWC, turn)), np.linalg.inv(turn))
        return total / (1 + len(turns))

    return mean


def turn_about(axis: Sequence[float], radians: float, spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """(3, 3): a rotation about an axis (D, H, W), right-handed, of ways in voxels."""
    d, h, w = np.asarray(axis, np.float64) / np.linalg.norm(axis)
    across = np.array([[0, -w, h], [w, 0, -d], [-h, d, 0]])
    # Rodrigues' formula.
    turn = np.eye(3) + math.sin(radians) * across + (1 - math.cos(radians)) * across @ across
    spacing = np.asarray(spacing_mm, np.float64)
    return turn * spacing / spacing[:, None]


@jax.jit
def _sampled(x_BDHWC: jax.Array, matrix: jax.Array) -> jax.Array:
    """Each voxel's value is taken where the matrix leads from the middle, linearly interpolated."""
    sides = x_BDHWC.shape[1:4]
    middle = (jnp.array(sides, jnp.float32) - 1) / 2
    ways = jnp.stack(jnp.meshgrid(*map(jnp.arange, sides), indexing="ij")) - middle[:, None, None, None]
    places = jnp.einsum("ab,bdhw->adhw", matrix.astype(jnp.float32), ways) + middle[:, None, None, None]
    one = functools.partial(map_coordinates, coordinates=list(places), order=1, mode="nearest")
    return jax.vmap(jax.vmap(one, in_axes=-1, out_axes=-1))(x_BDHWC)
