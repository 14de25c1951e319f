"""Which axial slices of a case a picture shows, and which way round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.tasks import lits
from dsdenseunet.tasks.task import Region


def choose_slices(
    truth_DHW: NDArray[np.integer], count: int, regions: Sequence[Region] = lits.TASK.regions
) -> list[int]:
    """Slices worth looking at, from the feet up: large areas of the last region that are not neighbours.

    The slice with the largest area comes first, then again and again the largest at least a sixth of the
    volume away from those chosen (less, where that leaves too few). If the case does not have the last
    region, the one before it counts, and so on.
    """
    masks = (region.mask(truth_DHW) for region in reversed(regions))
    shown_DHW = next((mask for mask in masks if mask.any()), np.zeros(truth_DHW.shape, np.bool_))
    areas = np.count_nonzero(shown_DHW, axis=(1, 2))
    order = np.argsort(-areas, kind="stable")
    distance = max(len(areas) // 6, 1)
    chosen: list[int] = []
    while distance and len(chosen) < min(count, len(areas)):
        chosen = []
        for index in order:
            if len(chosen) < count and all(abs(int(index) - other) >= distance for other in chosen):
                chosen.append(int(index))
        distance -= 1
    return sorted(chosen)


def for_display(slice_HW: NDArray[Any]) -> NDArray[Any]:
    """An axial slice (H, W, ...) as a radiologist sees it: front up, the patient's right on the left."""
    return slice_HW[::-1, ::-1]
