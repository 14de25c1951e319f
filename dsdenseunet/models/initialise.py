"""First values of parameters, drawn on the host: the same on every backend and with every version of JAX."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from dsdenseunet.models.network import abstract_variables

Path = tuple[str, ...]
Shape = tuple[int, ...]
# A parameter's first values, from its path in the network, its shape and a source of random numbers.
Draw = Callable[[Path, Shape, np.random.Generator], np.ndarray]
_ONES = ("scale", "var", "gamma")


def drawn(network: nn.Module, seed: int, draw: Draw) -> dict[str, Any]:
    """Every variable as `draw` says; nothing is compiled, which takes minutes for hundreds of kernels.

    Returns:
        `{"params": ...}`, and `batch_stats` where the network has some; float32 NumPy leaves.
    """
    generator = np.random.default_rng(seed)

    def leaf(path: tuple[Any, ...], shape: jax.ShapeDtypeStruct) -> np.ndarray:
        return draw(tuple(key.key for key in path[1:]), shape.shape, generator)

    return jax.tree_util.tree_map_with_path(leaf, abstract_variables(network))


def he_normal(path: Path, shape: Shape, generator: np.random.Generator) -> np.ndarray:
    """Kernels normal with variance 2 / fan_in (He et al. 2015), scales and variances one, all else zero."""
    if path[-1] == "kernel":
        return normal(shape, 2 / fan_in(shape), generator)
    return np.full(shape, 1.0 if path[-1] in _ONES else 0.0, np.float32)


def glorot_uniform(path: Path, shape: Shape, generator: np.random.Generator) -> np.ndarray:
    """Kernels uniform with variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010), the rest as `he_normal`.

    This is Keras' default.
    """
    if path[-1] != "kernel":
        return he_normal(path, shape, generator)
    fan_out = math.prod(shape[-5:-2]) * shape[-1]
    bound = math.sqrt(6 / (fan_in(shape) + fan_out))
    return uniform(shape, bound, generator)


def fan_in(shape: Shape) -> int:
    """Inputs of one output value of a 3D convolution; a sixth axis in front counts the layers of a stack."""
    return math.prod(shape[-5:-1])


def normal(shape: Shape, variance: float | np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Normal float32 values with mean 0; `variance` is broadcast."""
    return generator.standard_normal(shape, np.float32) * np.sqrt(variance).astype(np.float32)


def uniform(shape: Shape, bound: float, generator: np.random.Generator) -> np.ndarray:
    """Float32 values spread evenly between -`bound` and `bound`."""
    return ((2 * generator.random(shape, np.float32) - 1) * np.float32(bound)).astype(np.float32)


def truncated_normal(shape: Shape, deviation: float, generator: np.random.Generator) -> np.ndarray:
    """Normal float32 values with mean 0, drawn again where they are more than two deviations from it."""
    drawn = generator.standard_normal(shape, np.float32)
    while (far := np.abs(drawn) > 2).any():
        drawn[far] = generator.standard_normal(int(far.sum()), np.float32)
    return drawn * np.float32(deviation)
