"""Hounsfield units to the network's input range."""

from __future__ import annotations

import numpy as np

from dsdenseunet.core.errors import InputError


def normalise(volume: np.ndarray, hu_window: tuple[float, float]) -> np.ndarray:
    """Maps the window linearly to [-1, 1] and clips what is outside it.

    Args:
        volume: Hounsfield units, any shape and type.
        hu_window: (lower, upper); the paper's is (-200, 250).

    Returns:
        float32, same shape: -1 at and below `lower`, 1 at and above `upper`.

    Raises:
        InputError: the window is empty or reversed.
    """
    lower, upper = hu_window
    if not lower < upper:
        raise InputError(
            "config.data.hu_window", found=f"{hu_window}", expected="lower < upper", fix="e.g. (-200, 250)"
        )
    out = volume.astype(np.float32)
    out -= np.float32((upper + lower) / 2)
    out *= np.float32(2 / (upper - lower))
    return np.clip(out, -1, 1, out=out)
