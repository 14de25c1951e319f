"""First values of a network's parameters, drawn on the host."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dsdenseunet.models.dense_block import layer_sizes, row_fan_in


def init_variables(model: nn.Module, seed: int = 0) -> dict[str, Any]:
    """Draws what `model.init` would draw, without compiling anything.

    Kernels are normal with variance 2 / fan_in (He et al. 2015), scales and running variances one, all else
    zero. NumPy's generator gives the same values on every backend and with every version of jax;
    compiling the draws of a network of 300 kernels takes minutes.

    Args:
        model: has `stride` and `in_channels`.
        seed: of the draw.

    Returns:
        `{"params": ..., "batch_stats": ...}`, float32 NumPy leaves.
    """
    image = jax.ShapeDtypeStruct((1, *model.stride, model.in_channels), jnp.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    generator = np.random.default_rng(seed)

    def draw(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        name = path[-1].key
        if name == "kernel":
            fan_in = _fan_in(shapes["params"], path, leaf.shape, model)
            deviation = np.sqrt(2 / fan_in).astype(np.float32)
            return generator.standard_normal(leaf.shape, np.float32) * deviation
        return np.full(leaf.shape, 1.0 if name in ("scale", "var") else 0.0, np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def _fan_in(params: Any, path: tuple[Any, ...], shape: tuple[int, ...], model: nn.Module) -> np.ndarray:
    """Inputs of one output value, broadcastable to the kernel."""
    if len(shape) == 2:
        # FirstConvs: layer i of the block brings in_channels + i * growth_rate rows.
        for key in path[1:-1]:
            params = params[key.key]
        layers = params["bias"].shape[0]
        in_channels = (shape[0] - sum(layer_sizes(0, layers, model.growth_rate))) // layers
        return row_fan_in(layer_sizes(in_channels, layers, model.growth_rate))[:, None]
    # The last five axes are a kernel's own; a sixth in front counts the layers of a stack.
    return np.array(math.prod(shape[-5:-1]))
