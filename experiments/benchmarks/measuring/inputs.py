"""What both sides compute on, from a seed and NumPy alone: equal in every process."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def convolution_inputs(
    shape_DHWC: tuple[int, ...],
    kernel_shape: tuple[int, ...],
    stride: tuple[int, int, int],
    features: int,
    batch: int = 1,
    transposed: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standard normal map (B, D, H, W, C), kernel, and gradient of the output (B, D', H', W', features)."""
    generator = np.random.default_rng(0)
    sides = zip(shape_DHWC[:3], stride)
    out_DHW = [(n - 1) * s + 1 if transposed else -(-n // s) for n, s in sides]
    shapes = ((batch, *shape_DHWC), kernel_shape, (batch, *out_DHW, features))
    x, kernel, gradient = (generator.standard_normal(shape, np.float32) for shape in shapes)
    return x, kernel, gradient


def network_inputs(
    patch_size: tuple[int, ...], batch_size: int, in_channels: int, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Image (B, D, H, W, C) float32 in [-1, 1] and labels (B, D, H, W) int32, smooth as organs are."""
    generator = np.random.default_rng(0)
    shape = (batch_size, *patch_size, in_channels)
    depth, height, width = (np.linspace(-1, 1, n, dtype=np.float32) for n in patch_size)
    distance_DHW = np.sqrt(
        depth[:, None, None] ** 2 / 4 + height[None, :, None] ** 2 + width[None, None, :] ** 2
    )
    labels_DHW = np.clip(num_classes - 1 - (distance_DHW * num_classes).astype(np.int32), 0, None)
    noise = generator.standard_normal(shape, np.float32) * np.float32(0.2)
    image = noise + (labels_DHW[None, ..., None] / (num_classes - 1) - 0.5).astype(np.float32)
    return np.clip(image, -1, 1), np.broadcast_to(labels_DHW, shape[:-1]).astype(np.int32)


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Arrays by their paths in the Flax variables, as `params/block1/layer01/norm1/scale`."""
    with np.load(path) as arrays:
        return dict(arrays)
