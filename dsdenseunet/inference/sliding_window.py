"""Tiling of a volume into patches and Gaussian-weighted blending of a network's output.

The volume is walked through along D. Device memory holds one slab of the image and one accumulator, each as
deep as a patch, whatever the number of slices; the volume itself may be a memory map. Nothing here waits for
the device: `blend` hands out arrays that may still be computed. Programs are compiled for planes whose sides
are multiples of `GRAIN`, so that volumes of many sizes share a few of them. The output for a patch of a
single value, as outside a scanner's field of view, is computed once.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from dsdenseunet.data.intensity import normalise

Size = tuple[int, int, int]
# (B, D, H, W, channel) normalised patches of the image -> (B, D, H, W, C) class probabilities.
Network = Callable[[jax.Array], jax.Array]
# Of a patch's weight along one axis. The product over three axes, 1e-19, and its product with a probability
# as small as that are float32 numbers still; below, a voxel that one patch alone reaches would be 0 / 0.
LEAST_WEIGHT = float(np.finfo(np.float32).tiny) ** (1 / 6)


def patch_starts(size: int, patch: int, overlap: float) -> tuple[int, ...]:
    """First voxels of the patches along one axis: as few as give `overlap`, spread evenly (nnU-Net's rule).

    The first patch starts at 0, the last one ends at `size`; neighbours share at least about `overlap` of a
    patch, but never start at the same voxel. `size` must be at least `patch`.
    """
    step = max(patch * (1.0 - overlap), 1.0)
    # 10 * (1 - 0.8) is a little less than 2: a rounding error must not add a step.
    steps = math.ceil((size - patch) / step * (1.0 - 1e-9))
    return tuple(round((size - patch) * index / max(steps, 1)) for index in range(steps + 1))


def gaussian_weight(size: int, sigma_scale: float) -> NDArray[np.float32]:
    """Weight (size,) of a patch's voxels along one axis, 1 at the centre and nowhere below `LEAST_WEIGHT`.

    The standard deviation is `sigma_scale * size`. The product over the axes is the patch's weight. nnU-Net
    clips its weights from below too, since every voxel must be divided by the sum of its own.
    """
    offset = np.arange(size) - (size - 1) / 2
    # However narrow: what overflows here is the tail, which is clipped.
    with np.errstate(over="ignore"):
        exponent = -0.5 * (offset / (sigma_scale * size)) ** 2
    return np.maximum(np.exp(exponent), LEAST_WEIGHT).astype(np.float32)


# Sides of the planes that programs are compiled for are multiples of it.
GRAIN = 32


class Piece(NamedTuple):
    """Finished slices of a volume.

    Attributes:
        first: the first of them.
        values: (patch depth, plane H, plane W, C) probabilities; `keep` says which of them are the volume's.
        keep: slices along D, H and W.
    """

    first: int
    values: jax.Array
    keep: tuple[slice, slice, slice]


@dataclasses.dataclass(frozen=True)
class Tiling:
    """Where the patches lie in a volume that is padded to at least one patch.

    Attributes:
        shape: the volume's own shape (D, H, W).
        patch: a patch's shape (D, H, W).
        before: voxels padded in front of the volume, per axis; what is missing behind follows from it.
        starts: first voxels of the patches in the padded volume, per axis; patches are their product.
        weights: a patch's weight, per axis.
    """

    shape: Size
    patch: Size
    before: Size
    starts: tuple[tuple[int, ...], ...]
    weights: tuple[NDArray[np.float32], ...]

    @classmethod
    def of(cls, shape: Sequence[int], patch: Sequence[int], *, overlap: float, sigma_scale: float) -> Tiling:
        """Tiles a volume of `shape` (D, H, W); a volume smaller than a patch is centred in one."""
        padded = tuple(max(size, side) for size, side in zip(shape, patch))
        return cls(
            shape=_size(shape),
            patch=_size(patch),
            before=_size([(outer - size) // 2 for outer, size in zip(padded, shape)]),
            starts=tuple(patch_starts(size, side, overlap) for size, side in zip(padded, patch)),
            weights=tuple(gaussian_weight(side, sigma_scale) for side in patch),
        )

    @property
    def padded(self) -> Size:
        """Shape (D, H, W) of the padded volume."""
        return _size([max(size, side) for size, side in zip(self.shape, self.patch)])

    @property
    def plane(self) -> tuple[int, int]:
        """Sides (H, W) of the planes that are computed on: the padded volume's, rounded up."""
        height, width = (-(-side // GRAIN) * GRAIN for side in self.padded[1:])
        return height, width

    @property
    def patches(self) -> int:
        """Number of patches."""
        return math.prod(len(starts) for starts in self.starts)

    def calls(self, batch_size: int) -> int:
        """How often the network is called at most: no batch has patches of two slabs."""
        depth, *plane = (len(starts) for starts in self.starts)
        return depth * -(-math.prod(plane) // batch_size)

    def weight_sums(self) -> tuple[NDArray[np.float32], ...]:
        """Summed weights per axis of the padded volume; a voxel's sum over all patches is their product."""
        sums = []
        for size, starts, weight in zip(self.padded, self.starts, self.weights):
            total = np.zeros(size, np.float64)
            for start in starts:
                total[start : start + len(weight)] += weight
            sums.append(total.astype(np.float32))
        return tuple(sums)


def blend(
    image_DHWC: NDArray[Any],
    tiling: Tiling,
    network: Network,
    scaling: NDArray[np.float32],
    *,
    batch_size: int = 1,
    device: jax.Device | None = None,
) -> Iterator[Piece]:
    """Yields probabilities from the first to the last slice, without gaps.

    Args:
        image_DHWC: the volume, of `tiling.shape` and channels; only slabs of it are ever read, so that
            anything will do of which a part along D is an array.
        tiling: where the patches lie.
        network: called with `batch_size` patches at a time, always the same shape.
        scaling: (channels, 5), see `tasks.channel`; around a volume that is smaller than a patch lies `fill`.
        batch_size: patches per call; an incomplete batch is filled up with a patch of weight 0. A batch of a
            single value is not given to the network twice in a row.
        device: where to compute (None: JAX's default).
    """
    depth_starts, row_starts, column_starts = tiling.starts
    _, height, width = tiling.patch
    sums = tiling.weight_sums()
    plane_weight = jax.device_put(tiling.weights[1][:, None] * tiling.weights[2][None, :], device)
    plane_sum = np.ones(tiling.plane, np.float32)
    plane_sum[: tiling.padded[1], : tiling.padded[2]] = sums[1][:, None] * sums[2][None, :]
    plane_sum = jax.device_put(plane_sum, device)
    depth_weight = jax.device_put(tiling.weights[0], device)
    batches = [
        (corners, jax.device_put(corners, device), jax.device_put(share, device))
        for corners, share in _batches([(y, x) for y in row_starts for x in column_starts], batch_size)
    ]
    window = None
    known: tuple[NDArray[np.float32], jax.Array] | None = None
    for first, following in zip(depth_starts, [*depth_starts[1:], tiling.padded[0]]):
        host_slab_DHWC = _slab(image_DHWC, tiling, first, scaling)
        slab_DHWC = jax.device_put(host_slab_DHWC, device)
        for host_corners, corners, share in batches:
            value = _only_value(host_slab_DHWC, host_corners, (height, width))
            if value is not None and known is not None and (known[0] == value).all():
                probabilities = known[1]
            else:
                probabilities = network(_cut(slab_DHWC, corners, (height, width)))
                known = known if value is None else (value, probabilities)
            if window is None:
                shape = (*slab_DHWC.shape[:3], probabilities.shape[-1])
                window = jnp.zeros(shape, jnp.float32, device=device)
            window = _add(window, probabilities, corners, share, depth_weight, plane_weight)
        assert window is not None
        finished = following - first
        depth_sum = np.ones(tiling.patch[0], np.float32)
        depth_sum[:finished] = sums[0][first:following]
        done, window = _advance(window, jax.device_put(depth_sum, device), plane_sum, np.int32(finished))
        begin = max(tiling.before[0] - first, 0)
        end = min(finished, tiling.before[0] + tiling.shape[0] - first)
        rows, columns = (
            slice(before, before + size) for before, size in zip(tiling.before[1:], tiling.shape[1:])
        )
        yield Piece(first + begin - tiling.before[0], done, (slice(begin, end), rows, columns))


def _size(values: Sequence[int]) -> Size:
    depth, height, width = (int(value) for value in values)
    return depth, height, width


def _batches(
    corners: list[tuple[int, int]], batch_size: int
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """Corners (B, 2) of the patches of one slab and their share (B,): 1, or 0 for mere filling."""
    for begin in range(0, len(corners), batch_size):
        batch = corners[begin : begin + batch_size]
        missing = batch_size - len(batch)
        share = np.array([1.0] * len(batch) + [0.0] * missing, np.float32)
        yield np.array(batch + batch[-1:] * missing, np.int32), share


def _slab(
    image_DHWC: NDArray[Any],
    tiling: Tiling,
    first: int,
    scaling: NDArray[np.float32],
) -> NDArray[np.float32]:
    """One normalised slab (patch depth, plane H, plane W, channels), padded where the volume ends."""
    begin = first - tiling.before[0]
    end = begin + tiling.patch[0]
    slab = np.ascontiguousarray(image_DHWC[max(begin, 0) : min(end, tiling.shape[0])])
    missing = [(max(-begin, 0), max(end - tiling.shape[0], 0))]
    for outer, size, before in zip(tiling.plane, tiling.shape[1:], tiling.before[1:]):
        missing.append((before, outer - size - before))
    out = normalise(slab, scaling)
    if not np.any(missing):
        return out
    padded = [np.pad(out[..., c], missing, constant_values=scaling[c, 4]) for c in range(out.shape[-1])]
    return np.stack(padded, axis=-1)


def _only_value(
    slab_DHWC: NDArray[np.float32], corners: NDArray[np.int32], plane: tuple[int, int]
) -> NDArray[np.float32] | None:
    """The value (channels,) of every voxel of a batch of patches; None where there are several."""
    value: NDArray[np.float32] = slab_DHWC[(0, *corners[0])]
    patches = (slab_DHWC[:, y : y + plane[0], x : x + plane[1]] for y, x in corners)
    # The first slice alone settles it for most patches.
    return value if all((patch[0] == value).all() and (patch == value).all() for patch in patches) else None


@functools.partial(jax.jit, static_argnames="plane")
def _cut(slab_DHWC: jax.Array, corners: jax.Array, plane: tuple[int, int]) -> jax.Array:
    """Patches (B, D, H, W, channels) of a slab."""

    def one(corner: jax.Array) -> jax.Array:
        sizes = (slab_DHWC.shape[0], *plane, slab_DHWC.shape[3])
        return jax.lax.dynamic_slice(slab_DHWC, (0, corner[0], corner[1], 0), sizes)

    return jnp.stack([one(corner) for corner in corners])


@functools.partial(jax.jit, donate_argnames="window_DHWC")
def _add(
    window_DHWC: jax.Array,
    probabilities_BDHWC: jax.Array,
    corners: jax.Array,
    share: jax.Array,
    depth_weight: jax.Array,
    plane_weight: jax.Array,
) -> jax.Array:
    """Adds weighted probabilities to the accumulator, patch by patch: the order of the sum is fixed."""
    weight_DHW1 = depth_weight[:, None, None, None] * plane_weight[None, :, :, None]
    zero = jnp.int32(0)
    for probabilities, corner, one in zip(probabilities_BDHWC, corners, share, strict=True):
        at = (zero, corner[0], corner[1], zero)
        held = jax.lax.dynamic_slice(window_DHWC, at, probabilities.shape)
        window_DHWC = jax.lax.dynamic_update_slice(
            window_DHWC, held + probabilities * (one * weight_DHW1), at
        )
    return window_DHWC


@functools.partial(jax.jit, donate_argnames="window_DHWC")
def _advance(
    window_DHWC: jax.Array, depth_sum: jax.Array, plane_sum: jax.Array, finished: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The window divided by its weight, whose first slices are finished, and the window advanced by them."""
    depth = window_DHWC.shape[0]
    stays = (jnp.arange(depth) < depth - finished)[:, None, None, None]
    moved = jnp.where(stays, jnp.roll(window_DHWC, -finished, axis=0), 0.0)
    return window_DHWC / (depth_sum[:, None, None, None] * plane_sum[None, :, :, None]), moved
