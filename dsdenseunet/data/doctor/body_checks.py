"""Common sense about LiTS' CTs and labels: the body's own directions, and where liver and tumour lie.

Only `fits_better` is for any task. All arrays are canonical (D towards the head, H towards the front, W
towards the patient's right); what contradicts that is a header that is wrong.
"""

from __future__ import annotations

from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from dsdenseunet.tasks import lits
from dsdenseunet.tasks.channel import are_hounsfield
from dsdenseunet.tasks.task import Task

_BODY_HU = -300
_BONE_HU = 200
_LUNG_HU = -500
_OTHER_TISSUE_HU = 200
# Finer than this is not needed to tell up from down.
_COARSE_SIDE = 96
# Least difference of the air's share between the body's upper and lower third.
_LUNG_MARGIN = 0.12
# Least distance of the bones or the liver from the body's middle, as a share of its width.
_OFF_CENTRE = 0.04
_MOST_SHIFT = 6
# Share of a shift's exchanged voxels by which it must fit better than none.
_SHIFT_GAIN = 0.15
AXES = ("head-feet", "front-back", "right-left")


def flipped_axes(image_DHW: NDArray[np.int16], labels_DHW: NDArray[np.integer] | None) -> tuple[int, ...]:
    """Canonical axes along which the body lies the wrong way round.

    Lungs must be above, bones (the spine) behind and the liver on the right; a scan that does not show
    them is taken as it is. The liver is only looked for with labels.
    """
    step = tuple(max(1, side // _COARSE_SIDE) for side in image_DHW.shape)
    coarse = tuple(slice(None, None, size) for size in step)
    image = image_DHW[coarse]
    body = _largest(image > _BODY_HU)
    if not body.any():
        return ()
    flipped = []
    if _lungs_below(image, body):
        flipped.append(0)
    bones = body & (image > _BONE_HU)
    # Contrast medium is as bright as bone; a few voxels of it prove nothing.
    if np.count_nonzero(bones) > 0.002 * np.count_nonzero(body) and _offset(bones, body, 1) > _OFF_CENTRE:
        flipped.append(1)
    if labels_DHW is not None:
        liver = lits.TASK.region("liver").mask(labels_DHW[coarse])
        if liver.any() and _offset(liver, body, 2) < -_OFF_CENTRE:
            flipped.append(2)
    return tuple(flipped)


def label_shift(image_DHW: NDArray[np.int16], labels_DHW: NDArray[np.integer]) -> int:
    """Slices along D by which the labels should be moved to fit the image; 0 where they fit.

    Moved labels are better if what they gain looks more like liver than what they lose.
    """
    liver = lits.TASK.region("liver").mask(labels_DHW)
    if np.count_nonzero(liver.any(axis=(1, 2))) < 3:
        return 0
    alike = _like_liver(image_DHW, liver)
    best, best_gain = 0, 0.0
    for shift in [*range(-_MOST_SHIFT, 0), *range(1, _MOST_SHIFT + 1)]:
        moved = moved_slices(liver, shift)
        gained, lost = moved & ~liver, liver & ~moved
        # Slices that a shift pushes out of the volume have no counterpart.
        exchanged = min(np.count_nonzero(gained), np.count_nonzero(lost))
        if not exchanged:
            continue
        gain = float(np.mean(alike[gained]) - np.mean(alike[lost])) * exchanged
        if gain > best_gain and gain > _SHIFT_GAIN * exchanged:
            best, best_gain = shift, gain
    return best


def fits_better(
    image_DHW: NDArray[np.number],
    labels_DHW: NDArray[np.integer],
    others_DHW: NDArray[np.integer],
    task: Task,
) -> bool:
    """Whether the first of two label volumes fits the image clearly better: its voxels are more of a kind."""
    # Farther away is another tissue, however far.
    most = _OTHER_TISSUE_HU if are_hounsfield(task.channels) else float(np.std(image_DHW))
    spreads = []
    for labels in (labels_DHW, others_DHW):
        values = image_DHW[labels > 0].astype(np.float32)
        if not values.size:
            return False
        spreads.append(float(np.mean(np.minimum(np.abs(values - np.median(values)), most))))
    return spreads[0] < 0.8 * spreads[1]


def moved_slices(array_DHW: NDArray[Any], shift: int) -> NDArray[Any]:
    """The array moved by whole slices along D; slices that come in are 0."""
    moved = np.zeros_like(array_DHW)
    if shift > 0:
        moved[shift:] = array_DHW[:-shift]
    elif shift < 0:
        moved[:shift] = array_DHW[-shift:]
    else:
        moved[:] = array_DHW
    return moved


def tumour_outside_liver(labels_DHW: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Voxels of tumours that touch no liver: 26-connected pieces of either label without one of label 1."""
    labelled = lits.TASK.region("liver").mask(labels_DHW)
    pieces = cc3d.connected_components(np.ascontiguousarray(labelled), connectivity=26)
    with_liver = np.zeros(int(pieces.max()) + 1, np.bool_)
    with_liver[np.unique(pieces[labels_DHW == 1])] = True
    with_liver[0] = True
    return ~with_liver[pieces]


def _like_liver(image: NDArray[np.int16], liver: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels whose value is common in the liver."""
    values = image[liver].astype(np.float32)
    middle = float(np.median(values))
    width = float(np.clip(2 * 1.4826 * np.median(np.abs(values - middle)), 20, 60))
    return np.abs(image.astype(np.float32) - middle) <= width


def _lungs_below(image: NDArray[np.int16], body: NDArray[np.bool_]) -> bool:
    """Whether the middle of the body holds clearly more air in its lower third than in its upper."""
    window = tuple(_inner(body, axis) for axis in (1, 2))
    air = (image[:, window[0], window[1]] < _LUNG_HU).mean(axis=(1, 2))
    third = max(1, len(air) // 3)
    return bool(air[:third].mean() > air[-third:].mean() + _LUNG_MARGIN)


def _inner(body: NDArray[np.bool_], axis: int) -> slice:
    """The middle three fifths of the body along one axis."""
    low, high = _extent(body, axis)
    margin = (high - low) // 5
    return slice(low + margin, high - margin + 1)


def _offset(part: NDArray[np.bool_], body: NDArray[np.bool_], axis: int) -> float:
    """How far a part's centre lies from the body's middle along an axis, as a share of the body."""
    low, high = _extent(body, axis)
    sums = part.sum(axis=tuple(other for other in range(3) if other != axis))
    centre = float((sums * np.arange(len(sums))).sum() / sums.sum())
    return (centre - (low + high) / 2) / max(1, high - low)


def _extent(body: NDArray[np.bool_], axis: int) -> tuple[int, int]:
    hit = np.flatnonzero(body.any(axis=tuple(other for other in range(3) if other != axis)))
    return int(hit[0]), int(hit[-1])


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    pieces = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=6)
    sizes = np.bincount(pieces.reshape(-1))
    sizes[0] = 0
    return (pieces == sizes.argmax()) & mask
