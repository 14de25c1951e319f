"""Random changes of a patch's intensities, in the order of `NAMES`.

Random numbers are drawn on the host. The changes are applied there by NumPy or on a device by JAX, by the
same code: `xp` is either module.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from dsdenseunet.data.chance import Chance

# Share of a Gaussian's weight beyond so many deviations: 0.3 %.
_REACH = 3
_TINY = 1e-6
_NEUTRAL = {
    "noise": 0.0,
    "blur": 0.0,
    "brightness": 0.0,
    "contrast": 1.0,
    "low_resolution": 1.0,
    "gamma": 1.0,
}
NAMES = tuple(_NEUTRAL)


@dataclasses.dataclass(frozen=True)
class Appearance:
    """Which changes are made; instances of equal fields are equal, so that they share a compiled program.

    Attributes:
        noise: deviation of normal noise, in units of the normalised image as all below.
        blur: deviation of a Gaussian, in voxels.
        brightness: what is added.
        contrast: what distances from the patch's mean are multiplied by.
        low_resolution: share of the samples along each axis that are kept and interpolated between.
        gamma: the power of intensities between the patch's lowest (0) and highest (1).
    """

    noise: Chance
    blur: Chance
    brightness: Chance
    contrast: Chance
    low_resolution: Chance
    gamma: Chance

    @classmethod
    def of(cls, augment: Mapping[str, Any]) -> Appearance:
        """From `config.augment`."""
        return cls(**{name: Chance.of(augment[name], neutral) for name, neutral in _NEUTRAL.items()})

    def __bool__(self) -> bool:
        """Whether there are any."""
        return any(getattr(self, name) for name in NAMES)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Draws the changes of one patch: a float32 number for each that is enabled, and the noise itself.

        Args:
            rng: the only source of randomness; what is not enabled draws nothing from it.
            shape: (D, H, W, C) of the patch.
        """
        drawn = {
            name: np.array(chance.draw(rng), np.float32) for name in NAMES if (chance := getattr(self, name))
        }
        if self.noise:
            drawn["noise"] = drawn["noise"] * rng.standard_normal(shape, np.float32)
        return drawn

    def apply(self, xp: ModuleType, image_DHWC: Any, drawn: Mapping[str, Any]) -> Any:
        """The changed patch, float32 (D, H, W, C), by what `draw` gave."""
        if self.noise:
            image_DHWC = image_DHWC + drawn["noise"]
        if self.blur:
            image_DHWC = blurred(xp, image_DHWC, drawn["blur"], math.ceil(_REACH * self.blur.high))
        if self.brightness:
            image_DHWC = image_DHWC + drawn["brightness"]
        if self.contrast:
            mean = image_DHWC.mean((0, 1, 2))
            image_DHWC = xp.where(
                drawn["contrast"] == 1, image_DHWC, mean + (image_DHWC - mean) * drawn["contrast"]
            )
        if self.low_resolution:
            image_DHWC = coarse(xp, image_DHWC, drawn["low_resolution"])
        if self.gamma:
            image_DHWC = powered(xp, image_DHWC, drawn["gamma"])
        return image_DHWC.astype(np.float32)


def blurred(xp: ModuleType, image_DHWC: Any, sigma: Any, radius: int) -> Any:
    """Gaussian blur along D, H and W, the image continued by its outermost voxels; none for `sigma` 0.

    Args:
        xp: numpy or jax.numpy.
        image_DHWC: (D, H, W, C).
        sigma: deviation in voxels.
        radius: voxels on each side that count.
    """
    offsets = np.arange(-radius, radius + 1, dtype=np.float32)
    weights = xp.where(
        sigma > 0, xp.exp(-0.5 * (offsets / xp.maximum(sigma, _TINY)) ** 2), (offsets == 0).astype(np.float32)
    )
    weights = weights / weights.sum()
    for axis in range(3):
        side = image_DHWC.shape[axis]
        total = 0.0
        for number, offset in enumerate(range(-radius, radius + 1)):
            places = np.clip(np.arange(side) + offset, 0, side - 1)
            total = total + weights[number] * image_DHWC.take(places, axis)
        image_DHWC = total
    return image_DHWC


def coarse(xp: ModuleType, image_DHWC: Any, factor: Any) -> Any:
    """As if sampled at `factor` times the voxels along D, H and W, then linearly interpolated. 1: as it is.

    A sample is the voxel nearest to the middle of what it stands for, as where a scan has thick slices.
    """
    for axis in range(3):
        side = image_DHWC.shape[axis]
        last = xp.maximum(xp.floor(side * factor) - 1, 0)
        places = xp.clip((np.arange(side, dtype=np.float32) + 0.5) * factor - 0.5, 0, last)
        lower = xp.floor(places)
        weight = (places - lower).reshape([-1 if a == axis else 1 for a in range(4)])
        below, above = (
            xp.clip(xp.round((sample + 0.5) / factor - 0.5), 0, side - 1).astype(np.int32)
            for sample in (lower, xp.minimum(lower + 1, last))
        )
        first = xp.take(image_DHWC, below, axis)
        image_DHWC = first + (xp.take(image_DHWC, above, axis) - first) * weight
    return image_DHWC


def powered(xp: ModuleType, image_DHWC: Any, gamma: Any) -> Any:
    """Intensities between each channel's lowest and highest, as shares of that, to the power `gamma`."""
    lowest, highest = image_DHWC.min((0, 1, 2)), image_DHWC.max((0, 1, 2))
    span = xp.maximum(highest - lowest, _TINY)
    changed = lowest + span * ((image_DHWC - lowest) / span) ** gamma
    return xp.where(gamma == 1, image_DHWC, changed)
