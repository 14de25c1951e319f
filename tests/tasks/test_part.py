"""Regions of a task as the classes of another one, and back."""

import numpy as np
import pytest

from dsdenseunet.tasks.lits import TASK
from dsdenseunet.tasks.part import label_table, paint, part_of
from dsdenseunet.tasks.task import Task

LIVER, TUMOUR, BOTH = (
    part_of(TASK, ("liver",)),
    part_of(TASK, ("tumour",)),
    part_of(TASK, ("liver", "tumour")),
)
ROW = slice(0, 1), slice(0, 1), slice(1, 7)


def volume(*values):
    return np.array(values, np.uint8).reshape(1, 1, -1)


@pytest.mark.parametrize(
    ("part", "expected"), [(LIVER, (0, 1, 1, 255)), (TUMOUR, (0, 0, 1, 255)), (BOTH, (0, 1, 2, 255))]
)
def test_labels_are_those_of_the_regions_and_the_ignored_one_stays(part, expected):
    assert Task.of(part.to_config()) == part
    assert part.classes[0] == "background"
    np.testing.assert_array_equal(label_table(part, TASK)[[0, 1, 2, 255]], expected)


def test_a_tumour_stays_inside_the_liver_that_it_was_looked_for_in():
    labels = volume(0, 0, 1, 1, 2, 1, 0, 0)
    paint(labels, ROW, volume(1, 1, 0, 0, 0, 1), TUMOUR, TASK, "liver")
    # The old tumour is liver again; of the three that were found two lie outside of it.
    np.testing.assert_array_equal(labels, volume(0, 0, 2, 1, 1, 1, 0, 0))


@pytest.mark.parametrize("within", ["liver", ""])
def test_a_region_that_is_segmented_anew_may_grow_and_replaces_the_old_one_everywhere(within):
    labels = volume(1, 0, 0, 1, 1, 0, 0, 1)
    paint(labels, ROW, volume(0, 1, 1, 2, 0, 0), BOTH, TASK, within)
    np.testing.assert_array_equal(labels, volume(0, 0, 1, 1, 2, 0, 0, 0))
