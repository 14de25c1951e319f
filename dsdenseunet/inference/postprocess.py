"""Clean-up of a segmentation by what is known of the anatomy: the rules of `Task.clean_up`, by region."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.data.boxes import bounding_box
from dsdenseunet.tasks.task import Region, Task

Spacing = tuple[float, float, float]


def clean(labels_DHW: NDArray[np.uint8], task: Task, spacing_mm: Spacing | None) -> NDArray[np.uint8]:
    """Labels (D, H, W) after the task's rules, in their order.

    Args:
        labels_DHW: a prediction; not changed.
        task: whose `clean_up` is applied.
        spacing_mm: (D, H, W); needed by rules that have a distance.

    Raises:
        ValueError: a rule with a distance, and no spacing.
    """
    for kind, name, *more in task.clean_up:
        region = task.region(name)
        if kind == "largest":
            labels_DHW = keep_largest(labels_DHW, region)
        elif spacing_mm is None:
            raise ValueError(f"the rule {(kind, name, *more)} has a distance: spacing_mm must be given")
        else:
            other, distance_mm = more
            labels_DHW = keep_within(labels_DHW, region, task.region(other), spacing_mm, distance_mm)
    return labels_DHW


def keep_largest(labels_DHW: NDArray[np.uint8], region: Region) -> NDArray[np.uint8]:
    """Labels (D, H, W) in which only the largest 6-connected piece of a region is left of it."""
    mask_DHW = region.mask(labels_DHW)
    box = bounding_box(mask_DHW)
    if box is None:
        return labels_DHW
    kept_DHW = labels_DHW.copy()
    kept_DHW[box][mask_DHW[box] & ~_largest_component(mask_DHW[box])] = 0
    return kept_DHW


def keep_within(
    labels_DHW: NDArray[np.uint8], region: Region, other: Region, spacing_mm: Spacing, distance_mm: float
) -> NDArray[np.uint8]:
    """Labels (D, H, W) with a region only within `distance_mm` of another one.

    Of the other region its largest 6-connected piece counts; where it contains the first one, what lies
    inside it stays. Distances run between voxel centres. Without the other region nothing of the first stays.
    """
    mask_DHW = region.mask(labels_DHW)
    other_DHW = other.mask(labels_DHW)
    if not mask_DHW.any():
        return labels_DHW
    kept_DHW = labels_DHW.copy()
    box = bounding_box(mask_DHW | other_DHW)
    assert box is not None
    if not other_DHW.any():
        kept_DHW[mask_DHW] = 0
        return kept_DHW
    import edt  # Imported here, since prediction without clean-up does not need it.

    distance_DHW = edt.edt(~_largest_component(other_DHW[box]), anisotropy=spacing_mm)
    # The transform is in float32: its rounding must not decide about a voxel at exactly that distance,
    # however large or small the voxels are.
    far = distance_DHW > min(distance_mm * (1 + 1e-5), float(np.finfo(np.float32).max))
    kept_DHW[box][mask_DHW[box] & far] = 0
    return kept_DHW


def _largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest 6-connected component; of equal ones the first in memory order."""
    import cc3d  # Imported here, since prediction without clean-up does not need it.

    components, count = cc3d.connected_components(mask, connectivity=6, return_N=True)
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    return np.asarray(components == 1 + np.argmax(sizes[1:]))
