"""The gradient of a depthwise convolution by its kernel, for CPUs.

For each tap it is the sum over all output voxels of input times gradient. XLA does not vectorise such a
reduction over everything but the last axis; these forms multiply and add up whole stretches of memory and
reduce once at the end. They differ in how long a stretch is: a row of the map, a strip of rows, or a plane.
`fastest` says which is taken where.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import Array, lax

from dsdenseunet.ops.cpu.separately import compiled_separately

Stride = tuple[int, int, int]
# (padded input, gradient, (kd, kh, kw), stride) -> (taps, C), float32.
Form = Callable[[Array, Array, Sequence[int], Stride], Array]

# Measured on one AVX-512 core, 3^3 kernels, milliseconds:
#   gradient (B, D, H, W, C)   row   plane
#   1 x  5 x   7 x   5 x 128   0.32   0.15
#   1 x 10 x  14 x  10 x  96   1.20   0.77
#   2 x 10 x  14 x  10 x  64   4.76   1.44
#   1 x  3 x  28 x  28 x 128   2.14   2.74
#   1 x  3 x  56 x  56 x 128   9.03   20.2
# On one AVX2 core, beside other work; whole padded planes in one piece were a form until strips were:
#                                row   strip of 8   of 16   padded plane
#   1 x 12 x 64 x 64 x 32                13.8        13.7    36.6
#   1 x  6 x 64 x 64 x 32, 5^3           22.0        30.4    70.2
#   1 x 20 x 28 x 20 x 32                 3.55        4.17    4.67
#   1 x 16 x 16 x 16 x 128       3.9      3.8         6.3
#   1 x  3 x 28 x 28 x 128       1.96     3.42        3.45
#   1 x  3 x 56 x 56 x 128       9.10    10.2        20.2
#   1 x  3 x 28 x 28 x 112 by 2  3.31     5.35        7.97
# Numbers in a plane up to which it stays in the nearest cache.
_SMALL_PLANE = 16_000
# Rows of a strip, and numbers in a row up to which strips pay.
_STRIP, _SHORT_ROW = 8, 2048


def fastest(gradient_shape: Sequence[int], stride: Stride) -> Form:
    """The form for a gradient of this shape (B, D, H, W, C)."""
    height, width, channels = gradient_shape[2:]
    if height * width * channels <= _SMALL_PLANE:
        return by_plane
    return by_strip if stride == (1, 1, 1) and width * channels <= _SHORT_ROW else by_row


def by_row(padded: Array, gradient_BDHWC: Array, size: Sequence[int], stride: Stride) -> Array:
    """Stretches are (W, C) rows."""
    batch, depth, height, width, channels = gradient_BDHWC.shape
    sd, sh, sw = stride
    span = sw * (width - 1) + 1

    def line(_: None, offset: Array) -> tuple[None, Array]:
        def add_row(row: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
            b, rest = row // (depth * height), row % (depth * height)
            d, h = rest // height, rest % height
            gradient_WC = _at(gradient_BDHWC, (b, d, h), (width, channels))
            x_WC = _at(padded, (b, d * sd + offset[0], h * sh + offset[1]), (padded.shape[3], channels))
            return tuple(total + x_WC[k : k + span : sw] * gradient_WC for k, total in enumerate(sums))

        zero = jnp.zeros((width, channels), jnp.float32)
        sums = lax.fori_loop(0, batch * depth * height, add_row, (zero,) * size[2])
        return None, jnp.stack([_reduced(total) for total in sums])

    return lax.scan(line, None, _lines(size))[1].reshape(-1, channels)


def by_plane(padded: Array, gradient_BDHWC: Array, size: Sequence[int], stride: Stride) -> Array:
    """Stretches are (H, W, C) planes: far fewer turns of the loop, and more values to hold."""
    batch, depth, height, width, channels = gradient_BDHWC.shape
    sd, sh, sw = stride
    rows, columns = sh * (height - 1) + 1, sw * (width - 1) + 1

    def line(_: None, offset: Array) -> tuple[None, Array]:
        def add_plane(plane: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
            b, d = plane // depth, plane % depth
            gradient_HWC = _at(gradient_BDHWC, (b, d), (height, width, channels))
            start = (b, d * sd + offset[0], offset[1])
            x_HWC = _at(padded, start, (rows, padded.shape[3], channels), lead=2)[::sh]
            return tuple(
                total + x_HWC[:, k : k + columns : sw] * gradient_HWC for k, total in enumerate(sums)
            )

        zero = jnp.zeros((height, width, channels), jnp.float32)
        sums = lax.fori_loop(0, batch * depth, add_plane, (zero,) * size[2])
        return None, jnp.stack([_reduced(total) for total in sums])

    return lax.scan(line, None, _lines(size))[1].reshape(-1, channels)


def by_strip(padded: Array, gradient_BDHWC: Array, size: Sequence[int], stride: Stride) -> Array:
    """Several rows at once, copied out first: what is added to the sums stays in the nearer caches."""
    batch, depth, height, width, channels = gradient_BDHWC.shape
    sd, sh, sw = stride
    rows = min(_STRIP, height)
    missing = -height % rows
    gradient = jnp.pad(gradient_BDHWC, ((0, 0), (0, 0), (0, missing), (0, 0), (0, 0)))
    padded = jnp.pad(padded, ((0, 0), (0, 0), (0, sh * missing), (0, 0), (0, 0)))
    strips, span = (height + missing) // rows, sw * (width - 1) + 1

    # The loops below are vectorised only where they read from fixed places.
    @compiled_separately
    def cut(index: Array, plane: Array, gradient: Array, padded: Array) -> tuple[Array, Array]:
        b, rest = index // (depth * strips), index % (depth * strips)
        d, first = rest // strips, rest % strips * rows
        own = lax.dynamic_slice(gradient, (b, d, first, 0, 0), (1, 1, rows, width, channels))
        sizes = (1, 1, sh * (rows - 1) + size[1], padded.shape[3], channels)
        met = lax.dynamic_slice(padded, (b, d * sd + plane, first * sh, 0, 0), sizes)
        return own.astype(jnp.float32), met.astype(jnp.float32)

    def line(_: None, plane: Array) -> tuple[None, Array]:
        def add_strip(index: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
            own, met = cut(index, plane, gradient, padded)

            def products(h: int, w: int) -> list[Array]:
                starts = range(h, h + sh * rows, sh)
                lines = [met[:, :, start : start + 1, w : w + span : sw] for start in starts]
                return [x * own[:, :, row : row + 1] for row, x in enumerate(lines)]

            taps = itertools.product(range(size[1]), range(size[2]))
            return tuple(functools.reduce(jnp.add, products(*tap), sum_) for tap, sum_ in zip(taps, sums))

        zero = jnp.zeros((1, 1, 1, width, channels), jnp.float32)
        sums = lax.fori_loop(0, batch * depth * strips, add_strip, (zero,) * (size[1] * size[2]))
        return None, jnp.stack([_reduced(total) for total in sums])

    return lax.scan(line, None, jnp.arange(size[0]))[1].reshape(-1, channels)


def _at(array: Array, start: Sequence[Array | int], size: Sequence[int], lead: int | None = None) -> Array:
    """The part of `size` that begins at `start`, of which the first `lead` indices name one place."""
    lead = len(start) if lead is None else lead
    sizes = (1,) * lead + tuple(size)
    starts = (*start, *(0,) * (array.ndim - len(start)))
    return lax.dynamic_slice(array, starts, sizes).reshape(size).astype(jnp.float32)


def _reduced(total: Array) -> Array:
    """Summed over all but the last axis, as a matrix product, which XLA does well."""
    rows = total.reshape(-1, total.shape[-1])
    return jnp.dot(jnp.ones((1, len(rows)), rows.dtype), rows)[0]


def _lines(size: Sequence[int]) -> Array:
    """(kd * kh, 2): the taps but for their place along W."""
    return jnp.array(list(itertools.product(range(size[0]), range(size[1]))))
