"""From the grid that a network works on back to the scan's own, while the volume is still being computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dsdenseunet.data.resampling import Taps, along, taps
from dsdenseunet.inference.sliding_window import GRAIN, Piece


def onto(pieces: Iterator[Piece], shape: Sequence[int], own_shape: Sequence[int]) -> Iterator[Piece]:
    """The pieces of a resampled volume as those of the scan itself, a slice each, interpolated linearly.

    The device holds the few slices, in the scan's own size, that the next one is made of. Programs are shared
    by volumes of many sizes, as those of `sliding_window` are.

    Args:
        pieces: of the resampled volume, in their order.
        shape: its shape (D, H, W).
        own_shape: the scan's.
    """
    depth = taps(shape[0], own_shape[0])
    least, most = depth.source.min(axis=1), depth.source.max(axis=1)
    keep = slice(0, 1), slice(0, own_shape[1]), slice(0, own_shape[2])
    held: dict[int, jax.Array] = {}
    following = 0
    for piece in pieces:
        begin, end, _ = piece.keep[0].indices(piece.values.shape[0])
        rows, columns = (
            _in_piece(taps(size, own), part.start or 0)
            for size, own, part in zip(shape[1:], own_shape[1:], piece.keep[1:], strict=True)
        )
        for number in range(end - begin):
            arrived = piece.first + number
            held[arrived] = _in_plane(piece.values, np.int32(begin + number), rows, columns)
            while following < own_shape[0] and most[following] <= arrived:
                slices = tuple(held[int(index)] for index in depth.source[following])
                yield Piece(following, _mixed(slices, depth.weight[following]), keep)
                following += 1
                for outdated in [index for index in held if index < least[min(following, len(least) - 1)]]:
                    del held[outdated]


def _in_piece(kernel: Taps, before: int) -> Taps:
    """A kernel for planes that are padded by `before` voxels, its rows filled up to a multiple of `GRAIN`."""
    missing = -len(kernel.source) % GRAIN
    source = np.pad(kernel.source + np.int32(before), ((0, missing), (0, 0)))
    return Taps(source, np.pad(kernel.weight, ((0, missing), (0, 0))))


@jax.jit
def _in_plane(values: jax.Array, number: jax.Array, rows: Taps, columns: Taps) -> jax.Array:
    """A slice (H, W, C) of the values in the scan's own plane."""
    plane_HWC = jax.lax.dynamic_index_in_dim(values, number, keepdims=False)
    return along(along(plane_HWC, rows, 0, jnp), columns, 1, jnp)


@jax.jit
def _mixed(slices: tuple[jax.Array, ...], weight: jax.Array) -> jax.Array:
    """The weighted sum (1, H, W, C) of some slices."""
    total = slices[0] * weight[0]
    for number, one in enumerate(slices[1:], 1):
        total += one * weight[number]
    return total[None]
