"""The values of a depthwise convolution on CPUs: sums of shifted copies, a few taps at a time."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from dsdenseunet.ops.axes import met_by
from dsdenseunet.ops.cpu.separately import compiled_separately

Stride = tuple[int, int, int]
# Taps of one fused loop. Measured on one AVX2 core, 5^3 kernels at 12 x 64 x 64 x 32 and 16^3 x 128: 25 at a
# time 20 and 7 ms, 50 21 and 10, 75 23 and 12, all 125 more than ten times as long. A 3^3 kernel's 27 are
# left in one, with which the compiler fuses what follows; 18 and 9 take 0.8 of its time.
MOST_TAPS = 27


def by_planes(padded: Array, kernel: Array, stride: Stride, out_DHW: Sequence[int]) -> Array:
    """The sum over all taps, in as many passes over the map as planes of the kernel need.

    Args:
        padded: (B, D + kd - 1, H + kh - 1, W + kw - 1, C).
        kernel: (kd, kh, kw, 1, C).
        stride: step along (D, H, W).
        out_DHW: sides of the result.
    """
    depth, height, width = kernel.shape[:3]
    planes = max(1, MOST_TAPS // (height * width))
    total: tuple[Array, ...] = ()
    for first in range(0, depth, planes):
        taps = list(itertools.product(range(first, min(first + planes, depth)), range(height), range(width)))

        def add(
            padded: Array, kernel: Array, *total: Array, taps: list[tuple[int, int, int]] = taps
        ) -> Array:
            values = (met_by(padded, tap, stride, out_DHW) * kernel[(*tap, 0)] for tap in taps)
            return functools.reduce(jnp.add, values, *total)

        whole = planes >= depth
        total = ((add if whole else compiled_separately(add))(padded, kernel, *total),)
    return total[0]
