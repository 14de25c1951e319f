"""The gradient of a depthwise convolution by its kernel, for CPUs.

For each tap it is the sum over all output voxels of input times gradient. XLA does not vectorise such a
reduction over everything but the last axis; these forms multiply and add up whole stretches of memory and
reduce once at the end. They differ in how long a stretch is: a row of the map, a plane of it, or a plane with
its padding, which lies in one piece. `fastest` says which is taken where.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import Array, lax

Stride = tuple[int, int, int]
# (padded input, gradient, (kd, kh, kw), stride) -> (taps, C), float32.
Form = Callable[[Array, Array, Sequence[int], Stride], Array]

# Measured on one AVX-512 core, 3^3 kernels, milliseconds:
#   gradient (B, D, H, W, C)   row   plane   padded plane
#   1 x  5 x   7 x   5 x 128   0.32   0.15   0.81
#   1 x 10 x  14 x  10 x  96   1.20   0.77   2.26
#   2 x 10 x  14 x  10 x  64   4.76   1.44   2.70
#   1 x 20 x  28 x  20 x  32   9.59   8.50   6.22
#   2 x 20 x  28 x  20 x  32   29.1   19.1   12.4
#   1 x 48 x  48 x  48 x  32   90.5   85.6   57.2
#   1 x  3 x  28 x  28 x 128   2.14   2.74   6.34
#   1 x  3 x  56 x  56 x 128   9.03   20.2   30.2
# Planes from which those with padding pay, and how much larger the padding may make them.
_MANY_PLANES, _LITTLE_PADDING = 20, 1.25
# Numbers in a plane up to which it stays in the nearest cache.
_SMALL_PLANE = 16_000


def fastest(gradient_shape: Sequence[int], padded_shape: Sequence[int], stride: Stride) -> Form:
    """The form for maps of these shapes (B, D, H, W, C)."""
    batch, depth, height, width, channels = gradient_shape
    padding = math.prod(padded_shape[2:4]) / (height * width)
    if stride == (1, 1, 1) and batch * depth >= _MANY_PLANES and padding <= _LITTLE_PADDING:
        return by_padded_plane
    return by_plane if height * width * channels <= _SMALL_PLANE else by_row


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


def by_padded_plane(padded: Array, gradient_BDHWC: Array, size: Sequence[int], stride: Stride) -> Array:
    """Stretches are whole padded planes in one piece, where a tap is an offset; for stride 1 only."""
    del stride
    batch, depth, height, width, channels = gradient_BDHWC.shape
    _, kh, kw = size
    rows, columns = padded.shape[2:4]
    plane = rows * columns * channels
    gradient = jnp.pad(gradient_BDHWC, ((0, 0), (0, 0), (0, rows - height), (0, columns - width), (0, 0)))
    gradient = gradient.reshape(batch, depth * plane)
    # The last plane is read from each tap's offset on, beyond the map: the gradient is zero there.
    beyond = ((kh - 1) * columns + kw - 1) * channels
    x = jnp.pad(padded.reshape(batch, -1), ((0, 0), (0, beyond)))
    reach = plane + (kw - 1) * channels

    def line(_: None, offset: Array) -> tuple[None, Array]:
        first = (offset[0] * rows + offset[1]) * columns * channels

        def add_plane(index: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
            b, d = index // depth, index % depth
            own = _at(gradient, (b, d * plane), (plane,), lead=1)
            met = _at(x, (b, d * plane + first), (reach,), lead=1)
            return tuple(
                total + met[k * channels : k * channels + plane] * own for k, total in enumerate(sums)
            )

        zero = jnp.zeros(plane, jnp.float32)
        sums = lax.fori_loop(0, batch * depth, add_plane, (zero,) * kw)
        return None, jnp.stack([_reduced(total.reshape(-1, channels)) for total in sums])

    return lax.scan(line, None, _lines(size))[1].reshape(-1, channels)


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
