"""Small random label pairs that provoke every rule of lesion matching.

Only `Generator.random` is drawn from, whose stream does not change between NumPy releases, so that the
numbers of the expected results stay those of the same pairs. `checksum` tells when they don't.
"""

import zlib
from itertools import pairwise

import numpy as np

SPACINGS_MM = (0.45, 0.5, 0.703125, 0.77, 1.0, 1.25, 2.5, 3.0, 5.0, 6.0)


class Draw:
    """Random choices from uniform numbers only."""

    def __init__(self, seed):
        self.random = np.random.Generator(np.random.PCG64(seed)).random

    def whole(self, low, high):
        """A whole number from `low` to `high`, both included."""
        return low + int(self.random() * (high - low + 1))

    def chance(self, probability):
        return self.random() < probability

    def one_of(self, items):
        return items[self.whole(0, len(items) - 1)]


def make_pair(seed):
    """One pair for a seed.

    Returns:
        prediction and reference, uint8 of one shape with 1 to 20 voxels a side, and the spacing in mm.
    """
    draw = Draw(seed)
    shape = tuple(draw.whole(4, 14) for _ in range(3))
    if draw.chance(0.1):
        shape = tuple(1 if draw.chance(0.4) else side for side in shape)
    spacing = tuple(draw.one_of(SPACINGS_MM) for _ in range(3))
    crowded = draw.chance(0.003)
    if crowded:
        # More lesions than the 8 bits of the original's numbers can tell apart.
        shape = (20, 20, 20)
    reference_tumour, prediction_tumour = np.zeros((2, *shape), bool)
    if crowded:
        reference_tumour |= draw.random(shape) < 0.06
        prediction_tumour |= _distort(draw, reference_tumour)
        prediction_tumour |= draw.random(shape) < 0.02
    elif draw.chance(0.12):
        for tumour in (reference_tumour, prediction_tumour):
            tumour |= draw.random(shape) < 0.02 + 0.5 * draw.random()
    else:
        pieces = [_piece(draw, shape) for _ in range(draw.whole(0, 7))]
        for piece in pieces:
            reference_tumour |= piece
            prediction_tumour |= _distort(draw, piece)
        for first, second in pairwise(pieces):
            if draw.chance(0.2):
                prediction_tumour |= _bridge(first, second)
            if draw.chance(0.1):
                reference_tumour |= _bridge(first, second)
        for _ in range(draw.whole(0, 3)):
            prediction_tumour |= _piece(draw, shape)
    if draw.chance(0.04):
        reference_tumour[:] = False
    if draw.chance(0.04):
        prediction_tumour[:] = False
    reference_liver = _liver(draw, shape)
    prediction_liver = _distort(draw, reference_liver)
    if not reference_liver.any() or not prediction_liver.any() or draw.chance(0.03):
        prediction_liver = _liver(draw, shape)
    if draw.chance(0.03):
        prediction_liver[:] = False
    return _labels(prediction_liver, prediction_tumour), _labels(reference_liver, reference_tumour), spacing


def checksum(pairs):
    """CRC-32 over the voxels, shapes and spacings of some pairs."""
    value = 0
    for prediction, reference, spacing in pairs:
        for part in (prediction, reference, np.array(prediction.shape), np.array(spacing)):
            value = zlib.crc32(np.ascontiguousarray(part).tobytes(), value)
    return value


def _labels(liver, tumour):
    return np.where(tumour, 2, liver).astype(np.uint8)


def _liver(draw, shape):
    if draw.chance(0.15):
        return draw.random(shape) < draw.random()
    return _blob(draw, shape, smallest=2, largest=max(shape))


def _piece(draw, shape):
    """A voxel, a box, an ellipsoid, or a hollow box that may hold a smaller one."""
    if draw.chance(0.2):
        return _blob(draw, shape, smallest=1, largest=1)
    piece = _blob(draw, shape, smallest=1, largest=6)
    if draw.chance(0.15):
        inner = _erode(piece)
        piece &= ~inner
        if draw.chance(0.5):
            piece |= _erode(_erode(inner))
    return piece


def _blob(draw, shape, smallest, largest):
    sides = [min(draw.whole(smallest, largest), side) for side in shape]
    starts = [draw.whole(0, side - length) for side, length in zip(shape, sides)]
    blob = np.zeros(shape, bool)
    blob[tuple(slice(start, start + length) for start, length in zip(starts, sides))] = True
    if draw.chance(0.4):
        centres = [start + (length - 1) / 2 for start, length in zip(starts, sides)]
        grid = np.indices(shape)
        far = sum(((grid[i] - centres[i]) / (sides[i] / 2)) ** 2 for i in range(3))
        blob &= far <= 1.0
    return blob


def _distort(draw, mask):
    """What a predictor may make of a piece: the same, moved, grown, shrunk, split, holed or lost."""
    mask = mask.copy()
    kind = draw.whole(0, 8)
    if kind == 1:
        mask = _move(mask, draw.whole(0, 2), draw.one_of((-2, -1, 1, 2)))
    elif kind == 2:
        mask = ~_erode(~mask, outside=True)
    elif kind == 3:
        mask = _erode(mask)
    elif kind == 4:
        axis = draw.whole(0, 2)
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if hit.size:
            np.moveaxis(mask, axis, 0)[draw.whole(int(hit[0]), int(hit[-1]))] = False
    elif kind == 5:
        mask &= draw.random(mask.shape) < 0.5 + 0.5 * draw.random()
    elif kind == 6:
        mask[:] = False
    elif kind == 7:
        mask = _move(~_erode(~mask, outside=True), draw.whole(0, 2), draw.one_of((-1, 1)))
    return mask


def _move(mask, axis, steps):
    moved = np.roll(mask, steps, axis)
    edge = slice(0, steps) if steps > 0 else slice(steps, None)
    np.moveaxis(moved, axis, 0)[edge] = False
    return moved


def _erode(mask, outside=False):
    """Without its voxels that have one of six neighbours outside the mask."""
    padded = np.pad(mask, 1, constant_values=outside)
    eroded = mask.copy()
    for axis in range(3):
        for start in (0, 2):
            window = [slice(1, -1)] * 3
            window[axis] = slice(start, start + mask.shape[axis])
            eroded &= padded[tuple(window)]
    return eroded


def _bridge(first, second):
    """A path along the axes from the first voxel of one piece to the first of another."""
    path = np.zeros_like(first)
    if first.any() and second.any():
        here, there = np.argwhere(first)[0], np.argwhere(second)[0]
        for axis in range(3):
            low, high = sorted((here[axis], there[axis]))
            window = [slice(position, position + 1) for position in here]
            window[axis] = slice(low, high + 1)
            path[tuple(window)] = True
            here[axis] = there[axis]
    return path
