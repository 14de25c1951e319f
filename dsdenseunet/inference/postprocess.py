"""Clean-up of a segmentation by anatomy: there is one liver, and its tumours are in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TUMOUR = 2

Box = tuple[slice, slice, slice]


def keep_largest_component(labels_DHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels (D, H, W) with only the largest 6-connected piece of liver and tumour together.

    A tumour counts as liver, as in LiTS. No liver at all gives the labels back unchanged.
    """
    kept_DHW = np.zeros_like(labels_DHW)
    box = _bounding_box(labels_DHW > 0)
    if box is not None:
        organ = _largest_component(labels_DHW[box] > 0)
        kept_DHW[box][organ] = labels_DHW[box][organ]
    return kept_DHW


def keep_tumour_near_liver(
    labels_DHW: NDArray[np.uint8], spacing_mm: tuple[float, float, float], distance_mm: float
) -> NDArray[np.uint8]:
    """Labels (D, H, W) with tumour only inside the liver dilated by `distance_mm`.

    The liver is the largest 6-connected piece of liver and tumour together, so that the inside of a large
    tumour stays. Distances run between voxel centres.
    """
    box = _bounding_box(labels_DHW > 0)
    if box is None:
        return labels_DHW
    import edt  # Here, as prediction without clean-up does without it.

    organ = _largest_component(labels_DHW[box] > 0)
    distance_DHW = edt.edt(~organ, anisotropy=spacing_mm)
    # The transform is in float32: its rounding must not decide about a voxel at exactly that distance,
    # however large or small the voxels are.
    far = distance_DHW > min(distance_mm * (1 + 1e-5), float(np.finfo(np.float32).max))
    kept_DHW = labels_DHW.copy()
    kept_DHW[box][(labels_DHW[box] == TUMOUR) & far] = 0
    return kept_DHW


def _largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest 6-connected component; of equal ones the first in memory order."""
    import cc3d  # Here, as prediction without clean-up does without it.

    components, count = cc3d.connected_components(mask, connectivity=6, return_N=True)
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    return np.asarray(components == 1 + np.argmax(sizes[1:]))


def _bounding_box(mask: NDArray[np.bool_]) -> Box | None:
    """The smallest box that holds all of `mask` (None: empty); what is outside of it costs no memory."""
    slices = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        where = np.flatnonzero(mask.any(axis=others))
        if not len(where):
            return None
        slices.append(slice(int(where[0]), int(where[-1]) + 1))
    return slices[0], slices[1], slices[2]
