"""Which form of the depthwise convolution is used where: a table of what was measured to be fastest."""

from __future__ import annotations

import contextlib
import contextvars
import importlib.util
import math
from collections.abc import Iterator
from typing import NamedTuple

import jax

# What is used where nothing has been measured.
DEFAULT = "shifted"
_PALLAS_CAPABILITY = (8, 0)


class Kind(NamedTuple):
    """What a row of the table holds for: `cpu` or `gpu`, a GPU's major compute capability, type, stride."""

    platform: str
    major: int | None
    dtype: str
    stride: tuple[int, int, int]


# By kind: the fastest form, forward and backward together, and from how many numbers (B x D x H x W x C)
# in the input on. The benchmarks print the rows that this table should have, and a test holds it to the
# results that are published:
#   CPUs: docs/results/benchmark_cpu.json; `shifted` takes 1/73 of the time of `grouped` or less, everywhere.
#   GPUs: none has been measured yet.
FASTEST: dict[Kind, tuple[tuple[int, str], ...]] = {
    Kind("cpu", None, "float32", (1, 1, 1)): ((0, "shifted"),),
    Kind("cpu", None, "float32", (1, 2, 2)): ((0, "shifted"),),
}


class Device(NamedTuple):
    """What a program runs on: `cpu` or `gpu`, an NVIDIA GPU's compute capability, how many there are."""

    platform: str
    capability: tuple[int, int] | None = None
    devices: int = 1

    @classmethod
    def present(cls) -> Device:
        """The one that `lowering_for` names, else JAX's default backend."""
        named = _NAMED.get()
        if named is not None:
            return named
        capability = parse_capability(getattr(jax.devices()[0], "compute_capability", None))
        return cls(jax.default_backend(), capability, jax.device_count())


_NAMED: contextvars.ContextVar[Device | None] = contextvars.ContextVar("device", default=None)


@contextlib.contextmanager
def lowering_for(device: Device) -> Iterator[None]:
    """Chooses for a device that is not the default one: programs that are compiled for another machine."""
    token = _NAMED.set(device)
    try:
        yield
    finally:
        _NAMED.reset(token)


def parse_capability(text: object) -> tuple[int, int] | None:
    """The two numbers of an NVIDIA GPU's compute capability, such as "8.6"; None for anything else."""
    major, _, minor = str(text or "").partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None


def fastest(shape_BDHWC: tuple[int, ...], dtype: str, stride: tuple[int, int, int], device: Device) -> str:
    """`shifted`, `grouped` or `pallas`: as `FASTEST` says for this device, type, stride and size.

    `DEFAULT` where the table has no row, or names a form that the device cannot run.
    """
    major = None if device.capability is None else device.capability[0]
    rows = FASTEST.get(Kind(device.platform, major, dtype, stride), ())
    size = math.prod(shape_BDHWC)
    fitting = [form for least, form in rows if size >= least]
    return fitting[-1] if fitting and _possible(fitting[-1], device) else DEFAULT


def _possible(name: str, device: Device) -> bool:
    # Over several devices XLA cannot cut a Pallas kernel up by the batch: each would do all of it.
    return name != "pallas" or (
        device.capability is not None
        and device.capability >= _PALLAS_CAPABILITY
        and device.devices == 1
        and importlib.util.find_spec("jax.experimental.pallas.triton") is not None
    )
