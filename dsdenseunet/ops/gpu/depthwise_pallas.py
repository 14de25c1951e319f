"""Depthwise 3D convolution as Triton kernels, for NVIDIA GPUs of compute capability 8.0 and above.

Maps are seen as (voxels, C) matrices: a program takes a tile of consecutive voxels times up to 128 channels,
reads it once for each kernel position (mostly from the L1 cache) and adds up in float32. Sums have a fixed
order and no atomics: equal inputs give equal bits.

From JAX 0.11 on, lowering them warns that Pallas' Triton backend will be removed; up to 0.12 they compile as
before. JAX names two successors (docs.jax.dev/en/latest/pallas/CHANGELOG.html): Pallas' Mosaic GPU backend,
which loads tiles and not masked values from computed addresses, so that each program would copy its tile and
the voxels around it into shared memory, and is made for Hopper and newer, while these run from 8.0 on; or
`jax_triton.triton_call` with the two kernels below in Triton's own language, almost line by line, at the
price of the package `triton`. Where a JAX is without the backend, `ops.depthwise_choice` takes another form.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

Size = tuple[int, int, int]

_MOST_CHANNELS = 128
# Elements of a tile: 4 warps, so 16 a thread. Halved down to 4 a thread while the map has too few tiles to
# give each of a large GPU's processors two.
_TILE_ELEMENTS = (2048, 1024, 512)
_ENOUGH_PROGRAMS = 264
# The filter gradient keeps a tile of sums for each position of a kernel plane in registers.
_SUM_ELEMENTS = 1024
_SUM_PROGRAMS = 528
_WARPS = 4


class _Reading(NamedTuple):
    """Where the voxel that meets a result's voxel at a kernel position lies.

    Along each axis at (result * scale + first + step * position) / divisor, if that is whole and inside.
    """

    source: Size
    result: Size
    scale: Size
    first: Size
    step: int
    divisor: Size

    def voxels(self, results: Array, position: tuple[Any, ...]) -> tuple[Array, Array]:
        """Source voxels (n,) of result voxels (n,), counted over all samples, and which there are."""
        there = jnp.full(results.shape, True)
        index, rest = jnp.zeros_like(results), results
        stride = 1
        for axis in (2, 1, 0):
            size = self.source[axis]
            at = rest % self.result[axis] * self.scale[axis] + self.first[axis] + self.step * position[axis]
            rest //= self.result[axis]
            if self.divisor[axis] != 1:
                there &= at % self.divisor[axis] == 0
                at //= self.divisor[axis]
            there &= (at >= 0) & (at < size)
            index += at * stride
            stride *= size
        return index + rest * stride, there


def depthwise_pallas(x_BDHWC: Array, kernel: Array, stride: Size) -> Array:
    """As `ops.depthwise.depthwise_conv`, by which it is called.

    Elsewhere than on NVIDIA GPUs the kernels are interpreted: correct, and slow.
    """
    return _depthwise(x_BDHWC, kernel, stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _depthwise(x_BDHWC: Array, kernel: Array, stride: Size) -> Array:
    return _run(functools.partial(_values, stride=stride), x_BDHWC, kernel)


def _forward(x_BDHWC: Array, kernel: Array, stride: Size) -> tuple[Array, tuple[Array, Array]]:
    return _depthwise(x_BDHWC, kernel, stride), (x_BDHWC, kernel)


def _backward(stride: Size, residuals: tuple[Array, Array], gradient_BDHWC: Array) -> tuple[Array, Array]:
    x_BDHWC, kernel = residuals
    by_input = functools.partial(_input_gradient, stride=stride, source=_spatial(x_BDHWC))
    by_filter = functools.partial(_filter_gradient, stride=stride, size=_size(kernel))
    return (
        _run(by_input, gradient_BDHWC, kernel),
        _run(by_filter, x_BDHWC, gradient_BDHWC).reshape(kernel.shape).astype(kernel.dtype),
    )


_depthwise.defvjp(_forward, _backward)


def _run(function: Callable[..., Array], *operands: Array) -> Array:
    # The platform is chosen when the program is lowered: a process with a GPU may compute on its CPU too.
    return lax.platform_dependent(
        *operands,
        cuda=functools.partial(function, interpret=False),
        default=functools.partial(function, interpret=True),
    )


def _values(x_BDHWC: Array, kernel: Array, *, stride: Size, interpret: bool) -> Array:
    source, size = _spatial(x_BDHWC), _size(kernel)
    return _gather(x_BDHWC, kernel, _forward_reading(source, size, stride), interpret)


def _input_gradient(
    gradient_BDHWC: Array, kernel: Array, *, stride: Size, source: Size, interpret: bool
) -> Array:
    depth, height, width = (side // 2 for side in _size(kernel))
    reading = _Reading(_spatial(gradient_BDHWC), source, (1, 1, 1), (depth, height, width), -1, stride)
    return _gather(gradient_BDHWC, kernel, reading, interpret)


def _forward_reading(source: Size, size: Size, stride: Size) -> _Reading:
    depth, height, width = (-(-n // s) for n, s in zip(source, stride))
    first = (-(size[0] // 2), -(size[1] // 2), -(size[2] // 2))
    return _Reading(source, (depth, height, width), stride, first, 1, (1, 1, 1))


def _gather(source_BDHWC: Array, kernel: Array, reading: _Reading, interpret: bool) -> Array:
    """For each voxel of the result the sum of kernel times source over the kernel's positions."""
    batch, *_, channels = source_BDHWC.shape
    voxels = batch * math.prod(reading.result)
    wide = min(_MOST_CHANNELS, pl.next_power_of_2(channels))
    blocks = pl.cdiv(channels, wide)
    for elements in _TILE_ELEMENTS:
        tile = max(1, elements // wide)
        if pl.cdiv(voxels, tile) * blocks >= _ENOUGH_PROGRAMS:
            break
    positions = list(itertools.product(*map(range, _size(kernel))))

    def body(source_ref: Any, kernel_ref: Any, result_ref: Any) -> None:
        results = pl.program_id(0) * tile + jnp.arange(tile)
        channel = pl.program_id(1) * wide + jnp.arange(wide)
        is_result, is_channel = results < voxels, channel < channels
        total = jnp.zeros((tile, wide), jnp.float32)
        for number, position in enumerate(positions):
            index, there = reading.voxels(results, position)
            values = _load(source_ref, index, there & is_result, channel, is_channel)
            # A whole tile of equal rows: what is loaded as one row is handed round through shared memory.
            weights = _load(kernel_ref, jnp.full(tile, number), is_result, channel, is_channel)
            total += values * weights
        triton.store(
            result_ref.at[results[:, None], channel[None]],
            total.astype(result_ref.dtype),
            mask=is_result[:, None] & is_channel[None],
        )

    result = pl.pallas_call(
        body,
        out_shape=jax.ShapeDtypeStruct((voxels, channels), source_BDHWC.dtype),
        grid=(pl.cdiv(voxels, tile), blocks),
        compiler_params=triton.CompilerParams(num_warps=_WARPS),
        interpret=interpret,
        name="depthwise_conv",
    )(source_BDHWC.reshape(-1, channels), kernel.reshape(-1, channels))
    return result.reshape(batch, *reading.result, channels)


def _filter_gradient(
    x_BDHWC: Array, gradient_BDHWC: Array, *, stride: Size, size: Size, interpret: bool
) -> Array:
    """(positions, C) float32: a program sums over a run of voxels for one plane of positions."""
    reading = _forward_reading(_spatial(x_BDHWC), size, stride)
    batch, *_, channels = x_BDHWC.shape
    voxels = batch * math.prod(reading.result)
    wide = min(_MOST_CHANNELS, pl.next_power_of_2(channels))
    blocks = pl.cdiv(channels, wide)
    tile = max(1, _SUM_ELEMENTS // wide)
    tiles = pl.cdiv(voxels, tile)
    steps = pl.cdiv(tiles * blocks * size[0], _SUM_PROGRAMS)
    runs = pl.cdiv(tiles, steps)
    plane = list(itertools.product(range(size[1]), range(size[2])))

    def body(x_ref: Any, gradient_ref: Any, sums_ref: Any) -> None:
        run, slice_ = pl.program_id(0), pl.program_id(2)
        channel = pl.program_id(1) * wide + jnp.arange(wide)
        is_channel = channel < channels

        def add_tile(step: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
            results = (run * steps + step) * tile + jnp.arange(tile)
            is_result = results < voxels
            gradient = _load(gradient_ref, results, is_result, channel, is_channel)
            added = []
            for total, (row, column) in zip(sums, plane):
                index, there = reading.voxels(results, (slice_, row, column))
                added.append(total + gradient * _load(x_ref, index, there & is_result, channel, is_channel))
            return tuple(added)

        zero = jnp.zeros((tile, wide), jnp.float32)
        sums = lax.fori_loop(0, steps, add_tile, (zero,) * len(plane))
        for number, total in enumerate(sums):
            at = sums_ref.at[run, slice_ * len(plane) + number, channel]
            triton.store(at, jnp.sum(total, axis=0), mask=is_channel)

    partial_sums = pl.pallas_call(
        body,
        out_shape=jax.ShapeDtypeStruct((runs, math.prod(size), channels), jnp.float32),
        grid=(runs, blocks, size[0]),
        compiler_params=triton.CompilerParams(num_warps=_WARPS),
        interpret=interpret,
        name="depthwise_filter_gradient",
    )(x_BDHWC.reshape(-1, channels), gradient_BDHWC.reshape(-1, channels))
    return jnp.sum(partial_sums, axis=0)


def _load(ref: Any, rows: Array, is_row: Array, columns: Array, is_column: Array) -> Array:
    """Float32 values, 0 where the mask says that there is none."""
    mask = is_row[:, None] & is_column[None]
    return triton.load(ref.at[rows[:, None], columns[None]], mask=mask, other=0).astype(jnp.float32)


def _spatial(x_BDHWC: Array) -> Size:
    return x_BDHWC.shape[1], x_BDHWC.shape[2], x_BDHWC.shape[3]


def _size(kernel: Array) -> Size:
    return kernel.shape[0], kernel.shape[1], kernel.shape[2]
