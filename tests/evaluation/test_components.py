import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from dsdenseunet.evaluation import components

MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=3, max_dims=3, max_side=8))


@settings(deadline=None)
@given(mask=MASKS, order=st.permutations(range(3)))
def test_components_are_numbered_as_the_challenge_does(mask, order):
    mask = mask.transpose(order)
    expected, count = ndimage.label(mask)
    found = components.find_components(mask)
    assert found.count == count
    assert np.array_equal(found.labels, expected)
    assert np.array_equal(found.sizes, np.bincount(expected.ravel(), minlength=1)[1:])
    for number, box in enumerate(ndimage.find_objects(expected), start=1):
        assert found.box([number]) == box
        assert np.array_equal(found.mask([number], box), expected[box] == number)


def test_overlaps_by_hand():
    first = components.find_components(np.array([[[1, 1, 0, 1, 1]]], bool))
    second = components.find_components(np.array([[[0, 1, 1, 1, 0]]], bool))
    assert components.count_overlaps(first, second) == {(1, 1): 1, (2, 1): 1}
    assert components.count_overlaps(second, first) == {(1, 1): 1, (1, 2): 1}
