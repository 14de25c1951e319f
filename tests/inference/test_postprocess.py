import numpy as np
import pytest

from dsdenseunet.inference.postprocess import keep_largest, keep_within
from dsdenseunet.tasks.lits import TASK

LIVER, TUMOUR = TASK.regions


def keep_largest_component(labels):
    return keep_largest(labels, LIVER)


def keep_tumour_near_liver(labels, spacing_mm, distance_mm):
    return keep_within(labels, TUMOUR, LIVER, spacing_mm, distance_mm)


@pytest.fixture
def labels():
    """A liver of 2 x 3 x 3 with a tumour in it, and a piece of both far away."""
    labels_DHW = np.zeros((3, 5, 12), np.uint8)
    labels_DHW[0:2, 1:4, 1:4] = 1
    labels_DHW[0, 2, 2] = 2
    labels_DHW[1, 2, 9:11] = 1, 2
    return labels_DHW


def test_largest_component_keeps_tumour_inside_and_drops_the_rest(labels):
    expected = labels.copy()
    expected[:, :, 5:] = 0
    np.testing.assert_array_equal(keep_largest_component(labels), expected)


def test_pieces_that_touch_only_at_a_corner_are_two():
    labels = np.zeros((2, 3, 3), np.uint8)
    labels[0, 0, :2] = 1
    labels[1, 1, 2] = 1
    assert keep_largest_component(labels).sum() == 2


def test_nothing_stays_nothing():
    empty = np.zeros((2, 3, 4), np.uint8)
    np.testing.assert_array_equal(keep_largest_component(empty), empty)
    np.testing.assert_array_equal(keep_tumour_near_liver(empty, (1.0, 1.0, 1.0), 5.0), empty)


@pytest.mark.parametrize(("distance_mm", "kept"), [(0.0, 1), (4.1, 1), (4.2, 2), (10.0, 2)])
def test_tumour_is_kept_by_distance_in_mm(distance_mm, kept):
    """The stray tumour lies 6 voxels of 0.7 mm from the liver's last voxel."""
    labels = np.zeros((3, 3, 12), np.uint8)
    labels[:, :, 0:4] = 1
    labels[1, 1, 1] = 2
    labels[1, 1, 9] = 2
    cleaned = keep_tumour_near_liver(labels, (5.0, 0.7, 0.7), distance_mm)
    assert np.count_nonzero(cleaned == 2) == kept
    assert np.count_nonzero(cleaned == 1) == np.count_nonzero(labels == 1)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1, 1e3, 1e5])
@pytest.mark.parametrize(("share", "kept"), [(0.999, 0), (1, 1), (1.001, 1)])
def test_the_rule_is_the_same_in_every_unit(scale, share, kept):
    """The stray tumour lies 6 voxels of 0.7 from the liver, whatever the unit; rounding is not a distance."""
    labels = np.zeros((3, 3, 12), np.uint8)
    labels[:, :, 0:4] = 1
    labels[1, 1, 9] = 2
    spacing = (5 * scale, 0.7 * scale, 0.7 * scale)
    assert np.count_nonzero(keep_tumour_near_liver(labels, spacing, share * 4.2 * scale) == 2) == kept


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 5), (3, 4, 5)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1e-30, 1e-30, 1e-30), (1e30, 1.0, 1e-30)])
@pytest.mark.parametrize("distance_mm", [0.0, 1e-300, 5.0, 1e300])
@pytest.mark.parametrize("filled", [0, 1, 2])
def test_what_is_all_one_label_stays_as_it_is(shape, spacing, distance_mm, filled):
    """No liver at all, nothing but liver, nothing but tumour; one voxel; sizes that no header should have."""
    labels = np.full(shape, filled, np.uint8)
    np.testing.assert_array_equal(keep_largest_component(labels), labels)
    np.testing.assert_array_equal(keep_tumour_near_liver(labels, spacing, distance_mm), labels)


def test_distance_uses_each_axis_own_spacing():
    labels = np.zeros((4, 3, 3), np.uint8)
    labels[0] = 1
    labels[2, 1, 1] = 2
    assert keep_tumour_near_liver(labels, (5.0, 1.0, 1.0), 9.9).max() == 1
    assert keep_tumour_near_liver(labels, (5.0, 1.0, 1.0), 10.0).max() == 2


def test_inside_of_a_large_tumour_stays():
    labels = np.zeros((9, 11, 11), np.uint8)
    labels[1:8, 1:10, 1:10] = 1
    labels[2:7, 2:9, 2:9] = 2
    np.testing.assert_array_equal(keep_tumour_near_liver(labels, (1.0, 1.0, 1.0), 0.0), labels)


def test_input_is_left_alone(labels):
    before = labels.copy()
    keep_largest_component(labels)
    keep_tumour_near_liver(labels, (1.0, 1.0, 1.0), 0.0)
    np.testing.assert_array_equal(labels, before)
