"""Which form of the depthwise convolution is fastest where: read from recorded measurements."""

from __future__ import annotations

import functools
import importlib.util
import json
import math
from importlib import resources
from typing import Any, NamedTuple

import jax

FILE = "depthwise_choice.json"
# What is used where nothing has been measured.
DEFAULT = "shifted"
_PALLAS_CAPABILITY = (8, 0)


class Device(NamedTuple):
    """What a program runs on: `cpu` or `gpu`, an NVIDIA GPU's compute capability, how many there are."""

    platform: str
    capability: tuple[int, int] | None = None
    devices: int = 1

    @classmethod
    def present(cls) -> Device:
        """JAX's default backend."""
        text = getattr(jax.devices()[0], "compute_capability", None)
        major, _, minor = str(text or "").partition(".")
        capability = (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None
        return cls(jax.default_backend(), capability, jax.device_count())


def fastest(shape_BDHWC: tuple[int, ...], dtype: str, stride: tuple[int, int, int], device: Device) -> str:
    """`shifted`, `grouped` or `pallas`: least time, forward and backward, at the most similar measured case.

    A measurement holds for its platform, major compute capability and type; similar are cases of the same
    stride with nearly as many voxels and channels. Without one it is `DEFAULT`.
    """
    cases = [
        case
        for record in measurements()
        if record["platform"] == device.platform
        and record["dtype"] == dtype
        and (record["capability"] or [None])[0] == (device.capability or [None])[0]
        for case in record["cases"]
        if case["stride"] == list(stride)
    ]
    if not cases:
        return DEFAULT
    nearest = min(cases, key=lambda case: _distance(shape_BDHWC, case["shape"]))
    allowed = {name: seconds for name, seconds in nearest["milliseconds"].items() if _possible(name, device)}
    return min(allowed, key=lambda name: allowed[name])


@functools.cache
def measurements() -> list[dict[str, Any]]:
    """The records of depthwise_choice.json, which `experiments.record_depthwise` writes."""
    text = resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    return json.loads(text)["measurements"]


def _distance(shape: tuple[int, ...], other: list[int]) -> float:
    """Of (B, D, H, W, C): factors in voxels and in channels, as logarithms."""
    voxels = math.log(max(1, math.prod(shape[:-1])) / math.prod(other[:-1]))
    channels = math.log(max(1, shape[-1]) / other[-1])
    return abs(voxels) + abs(channels)


def _possible(name: str, device: Device) -> bool:
    # Over several devices XLA cannot cut a Pallas kernel up by the batch: each would do all of it.
    return name != "pallas" or (
        device.capability is not None
        and device.capability >= _PALLAS_CAPABILITY
        and device.devices == 1
        and importlib.util.find_spec("jax.experimental.pallas.triton") is not None
    )
