"""Class probabilities of a whole volume, by a network of patches: for prediction and its exported form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from dsdenseunet.data.intensity import with_channels
from dsdenseunet.data.resampling import Slices, shape_at
from dsdenseunet.inference.mirroring import averaged
from dsdenseunet.inference.own_grid import onto
from dsdenseunet.inference.sliding_window import Piece, Size, Tiling, blend
from dsdenseunet.inference.turning import averaged_over_turns
from dsdenseunet.tasks.channel import Channel, are_hounsfield, scaling_of, statistics_of


def working_shape(
    shape: Sequence[int],
    spacing_mm: Sequence[float] | None,
    working_mm: Sequence[float],
    rotation_degrees: float,
) -> Size:
    """The shape (D, H, W) in which the network sees a volume.

    Args:
        shape: of the volume, (D, H, W).
        spacing_mm: its own; None where it is not known.
        working_mm: that of the voxels that the network sees; (): the volume's own.
        rotation_degrees: by which patches are turned; 0 for none.

    Raises:
        ValueError: the volume's spacing is not known, and is needed.
    """
    if spacing_mm is None and (working_mm or rotation_degrees):
        why = f"the network sees voxels of {working_mm} mm" if working_mm else "patches are turned"
        raise ValueError(f"spacing_mm of the image must be given: {why}")
    return shape_at(shape, spacing_mm or (), working_mm)


def pieces_of(
    image: NDArray[Any],
    network: Callable[[jax.Array, NDArray[np.bool_]], jax.Array],
    channels: Sequence[Channel],
    statistics: Sequence[Sequence[float]] | None,
    *,
    spacing_mm: Sequence[float] | None,
    working_mm: Sequence[float],
    patch_size: Sequence[int],
    overlap: float,
    sigma_scale: float,
    mirror_axes: Sequence[int],
    rotation_degrees: float,
    batch_size: int,
    device: jax.Device | None,
) -> Iterator[Piece]:
    """Yields the class probabilities of the image's own voxels, slab by slab.

    An image that must be resampled first is resampled slab by slab, as the network comes to it.

    Args:
        image: (D, H, W), or (D, H, W, channel), as it was measured.
        network: of normalised patches, and of which of D, H, W are mirrored before it and back after it.
        channels: of the image.
        statistics: of each channel; None: those of this image.
        spacing_mm: as `working_shape`.
        working_mm: as `working_shape`.
        patch_size: voxels (D, H, W).
        overlap: share of a patch that its neighbour covers too, in [0, 1).
        sigma_scale: standard deviation of the Gaussian weight as a share of the patch's side.
        mirror_axes: see `mirroring.averaged`.
        rotation_degrees: see `turning.averaged_over_turns`.
        batch_size: patches per call of the network.
        device: where to compute (None: JAX's default).

    Raises:
        ValueError: as `working_shape`.
    """
    own_shape = image.shape[:3]
    shape = working_shape(own_shape, spacing_mm, working_mm, rotation_degrees)
    image_DHWC: Any = with_channels(image)
    if shape != own_shape:
        image_DHWC = Slices(image_DHWC, shape, whole=are_hounsfield(channels))
    pieces = blend(
        image_DHWC,
        Tiling.of(shape, patch_size, overlap=overlap, sigma_scale=sigma_scale),
        averaged_over_turns(averaged(network, mirror_axes), rotation_degrees, working_mm or spacing_mm or ()),
        scaling_of(channels, statistics_of(channels, image) if statistics is None else statistics),
        batch_size=batch_size,
        device=device,
    )
    yield from pieces if shape == own_shape else onto(pieces, shape, own_shape)
