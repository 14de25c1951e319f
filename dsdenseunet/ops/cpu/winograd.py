"""3^3 convolutions by Winograd's minimal filtering in the plane, for CPUs.

F(4 x 4, 3 x 3) (Lavin and Gray 2016, arXiv 1509.09308, section 4.3) computes 4 x 4 outputs from 6 x 6
inputs with 36 products instead of 144. Here it works on the (H, W) plane; the three depth taps are one matrix
product with three times the columns, summed at three depth offsets, of which those outside the map are left
out: planes of zeros around it would be transformed and multiplied like any other, two for three of the
network's deepest maps. A quarter of the multiplications are
left, in large matrix products, which XLA's CPU backend does well where its direct convolution does not.

The result is a float32 convolution with a rounding error about ten times that of the direct form
(1e-5 of the largest value).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

TILE = 4
_WINDOW = TILE + 2
# Input, filter and output transforms: y = A'[(G g G') * (B' d B)]A for the interpolation points 0, ±1, ±2.
_INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float32,
)
_FILTER = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    np.float32,
)
_OUTPUT = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float32
)
# Rows of a block's matrix products: enough to fill the cores, few enough to stay in cache. Measured on one
# AVX2 core with 400 and 800, ms: 6 x 56 x 112, 192 to 96 channels, 203 and 246 for values and 244 and 261 for
# the kernel's gradient; 3 x 56 x 56, 224 to 192, 117 and 123, 128 and 122.
_BLOCK_ROWS = 400


def conv(x_BDHWC: Array, kernel: Array) -> Array:
    """The stride-1 convolution of `ops.conv.conv3d` with a (3, 3, 3, C_in, C_out) kernel, float32.

    Walks over bands of rows of tiles, so that the transformed values of one band at a time exist.
    """
    batch, depth, height, width, _ = x_BDHWC.shape
    features = kernel.shape[-1]
    bands = _Bands(x_BDHWC.shape)
    filters = _transform_filters(kernel)

    def band(y_BDHWC: Array, index: Array) -> tuple[Array, None]:
        products = lax.dot_general(
            bands.transformed_input(x_BDHWC, index), filters, (((2,), (1,)), ((0,), (0,)))
        ).reshape(_WINDOW, _WINDOW, batch, depth, bands.tile_rows, bands.tile_columns, 3, features)
        for first, stop, taps in _planes_by_taps(depth):
            parts = [products[:, :, :, first + tap - 1 : stop + tap - 1, :, :, tap] for tap in taps]
            planes = bands.inverse(functools.reduce(jnp.add, parts))
            start = (0, first, index * (bands.tile_rows * TILE), 0, 0)
            y_BDHWC = lax.dynamic_update_slice(y_BDHWC, planes, start)
        return y_BDHWC, None

    y = jnp.zeros((batch, depth, bands.padded_height, bands.padded_width, features), jnp.float32)
    y, _ = lax.scan(band, y, jnp.arange(bands.count))
    return y[:, :, :height, :width]


def filter_gradient(x_BDHWC: Array, gradient_BDHWC: Array) -> Array:
    """Gradient of `conv` by its kernel, (3, 3, 3, C_in, C_out): the same transforms, transposed."""
    channels, features = x_BDHWC.shape[-1], gradient_BDHWC.shape[-1]
    bands = _Bands(x_BDHWC.shape)

    def band(sums: Array, index: Array) -> tuple[Array, None]:
        values = bands.transformed_input(x_BDHWC, index)
        gradients = bands.transformed_gradient(gradient_BDHWC, index)
        return sums + lax.dot_general(values, gradients, (((1,), (1,)), ((0,), (0,)))), None

    zero = jnp.zeros((_WINDOW**2, channels, 3 * features), jnp.float32)
    sums, _ = lax.scan(band, zero, jnp.arange(bands.count))
    sums = sums.reshape(_WINDOW, _WINDOW, channels, 3, features)
    by_row = jnp.stack(_combine(_FILTER.T, [sums[i] for i in range(_WINDOW)]))
    taps = jnp.stack(_combine(_FILTER.T, [by_row[:, j] for j in range(_WINDOW)]), 1)
    return jnp.moveaxis(taps, 3, 0)


def _planes_by_taps(depth: int) -> Iterator[tuple[int, int, list[int]]]:
    """Runs (first, stop) of output planes, and the depth taps that meet planes of the map there."""
    taps = [[tap for tap in range(3) if 0 <= plane + tap - 1 < depth] for plane in range(depth)]
    for met, run in itertools.groupby(range(depth), lambda plane: taps[plane]):
        first, *rest = run
        yield first, first + 1 + len(rest), met


class _Bands:
    """How a (B, D, H, W, C) map is cut: bands of `tile_rows` rows of `tile_columns` tiles."""

    def __init__(self, shape: Sequence[int]):
        _, self.depth, self.height, self.width, _ = shape
        self.tile_columns = math.ceil(self.width / TILE)
        rows = math.ceil(self.height / TILE)
        band = max(1, min(rows, _BLOCK_ROWS // (shape[0] * self.depth * self.tile_columns)))
        self.count = math.ceil(rows / band)
        # Spread evenly: 14 rows are 2 bands of 7 rather than 12 + 2.
        self.tile_rows = math.ceil(rows / self.count)
        self.padded_height = self.count * self.tile_rows * TILE
        self.padded_width = self.tile_columns * TILE

    def _rows(self, x_BDHWC: Array, index: Array, margin: int) -> Array:
        """The rows that a band's tiles meet: its own and `margin` on both sides, with zeros around the map.

        A padded copy of the whole map would cost a pass over it, and memory as long as a gradient needs it.
        """
        own = self.tile_rows * TILE
        wanted = own + 2 * margin
        held = min(wanted, self.height)
        first = index * own - margin
        start = jnp.clip(first, 0, self.height - held)
        rows = lax.dynamic_slice_in_dim(x_BDHWC, start, held, axis=2)
        outside = (margin, margin + self.padded_height - self.height)
        rows = jnp.pad(rows, ((0, 0), (0, 0), outside, (0, 0), (0, 0)))
        return lax.dynamic_slice_in_dim(rows, first - start + margin, wanted, axis=2)

    def transformed_input(self, x_BDHWC: Array, index: Array) -> Array:
        """(36, B * D * tiles, C): B' d B of every 6 x 6 window of a band."""
        rows, columns = self.tile_rows, self.tile_columns
        right = self.padded_width - self.width + 1
        band = jnp.pad(self._rows(x_BDHWC, index, 1), ((0, 0),) * 3 + ((1, right), (0, 0)))
        lines = [band[:, :, k : k + TILE * (rows - 1) + 1 : TILE] for k in range(_WINDOW)]
        by_row = jnp.stack(_combine(_INPUT, lines))
        cells = [by_row[:, :, :, :, k : k + TILE * (columns - 1) + 1 : TILE] for k in range(_WINDOW)]
        return jnp.stack(_combine(_INPUT, cells), 1).reshape(_WINDOW**2, -1, x_BDHWC.shape[-1])

    def inverse(self, summed: Array) -> Array:
        """A' m A: (6, 6, B, D, rows, columns, C) -> (B, D, 4 rows, 4 columns, C)."""
        by_row = jnp.stack(_combine(_OUTPUT, [summed[i] for i in range(_WINDOW)]))
        y = jnp.stack(_combine(_OUTPUT, [by_row[:, j] for j in range(_WINDOW)]), 5)
        _, batch, depth, rows, columns, _, features = y.shape
        y = jnp.moveaxis(y, 0, 3)
        return y.reshape(batch, depth, rows * TILE, columns * TILE, features)

    def transformed_gradient(self, gradient_BDHWC: Array, index: Array) -> Array:
        """A g A', the transpose of `inverse`, of a band: (36, B * D * tiles, 3 F).

        Side by side the gradients that meet an input plane through each depth tap: those of the output planes
        after it, at it and before it.
        """
        right = self.padded_width - self.width
        band = jnp.pad(self._rows(gradient_BDHWC, index, 0), ((0, 0),) * 3 + ((0, right), (0, 0)))
        lines = [band[:, :, k::TILE] for k in range(TILE)]
        by_row = jnp.stack(_combine(_OUTPUT.T, lines))
        cells = [by_row[:, :, :, :, k::TILE] for k in range(TILE)]
        own = jnp.stack(_combine(_OUTPUT.T, cells), 1)
        features = own.shape[-1]
        # Written into zeros: XLA takes three times as long to put arrays side by side along the last axis.
        met = jnp.zeros((*own.shape[:-1], 3 * features), own.dtype)
        for tap in range(3):
            planes = own[:, :, :, max(0, 1 - tap) : self.depth + min(0, 1 - tap)]
            met = lax.dynamic_update_slice(met, planes, (0, 0, 0, max(0, tap - 1), 0, 0, tap * features))
        return met.reshape(_WINDOW**2, -1, 3 * features)


def _transform_filters(kernel: Array) -> Array:
    """G g G': (36, C_in, 3 * C_out), the depth taps side by side."""
    by_row = jnp.stack(_combine(_FILTER, [kernel[:, p] for p in range(3)]))
    cells = _combine(_FILTER, [by_row[:, :, q] for q in range(3)])
    filters = jnp.stack([cell.swapaxes(1, 2) for cell in cells], 1)
    return filters.reshape(_WINDOW**2, kernel.shape[3], 3 * kernel.shape[4])


def _combine(matrix: np.ndarray, values: Sequence[Array]) -> list[Array]:
    """The matrix times the vector of arrays, terms with a zero left out."""
    return [
        functools.reduce(jnp.add, [float(c) * v for c, v in zip(row, values) if c != 0]) for row in matrix
    ]
