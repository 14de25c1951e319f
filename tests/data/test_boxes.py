import numpy as np

from dsdenseunet.data import boxes


def test_bounding_box():
    mask = np.zeros((4, 5, 6), bool)
    assert boxes.bounding_box(mask) is None
    mask[1, 2, 3] = mask[2, 4, 3] = True
    assert boxes.bounding_box(mask) == (slice(1, 3), slice(2, 5), slice(3, 4))
