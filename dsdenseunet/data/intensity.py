"""Intensities to the network's input range, as the scaling of each channel says."""

from __future__ import annotations

import numpy as np


def normalise(image: np.ndarray, scaling: np.ndarray) -> np.ndarray:
    """The values scaled and clipped, channel by channel.

    Args:
        image: of any type, channels last; not changed.
        scaling: (channels, 5) float32, see `tasks.channel`.

    Returns:
        float32, same shape.
    """
    out = image.astype(np.float32)
    out -= scaling[..., 0]
    out *= scaling[..., 1]
    return np.clip(out, scaling[..., 2], scaling[..., 3], out=out)


def with_channels(image: np.ndarray) -> np.ndarray:
    """(D, H, W, channel) of an image, which is (D, H, W) where it has one channel only."""
    return image if image.ndim == 4 else image[..., None]
