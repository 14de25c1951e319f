import numpy as np
import pytest

from dsdenseunet.evaluation import overlap


def mask(text):
    return np.array([character == "x" for character in text])


def test_counts_by_hand():
    assert overlap.count(mask("xx.x"), mask(".xxx")) == overlap.Counts(3, 3, 2)
    assert overlap.Counts(1, 2, 3) + overlap.Counts(10, 20, 30) == overlap.Counts(11, 22, 33)


def test_dice_and_jaccard_by_hand():
    counts = overlap.Counts(prediction=3, reference=5, intersection=2)
    assert overlap.dice(counts) == pytest.approx(4 / 8)
    assert overlap.jaccard(counts) == pytest.approx(2 / 6)


def test_empty_masks():
    for measure in (overlap.dice, overlap.jaccard):
        assert measure(overlap.Counts(0, 0, 0)) == 1.0
        assert measure(overlap.Counts(4, 0, 0)) == 0.0
        assert measure(overlap.Counts(0, 4, 0)) == 0.0


def test_dice_per_class_counts_tumour_as_liver():
    prediction = np.array([[0, 1, 2, 2]], np.uint8)
    reference = np.array([[1, 1, 1, 2]], np.uint8)
    assert overlap.dice_per_class(prediction, reference) == {
        "liver": pytest.approx(2 * 3 / 7),
        "tumour": pytest.approx(2 * 1 / 3),
    }


def test_dice_per_class_of_empty_volumes():
    empty, liver = np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)
    assert overlap.dice_per_class(empty, empty) == {"liver": 1.0, "tumour": 1.0}
    assert overlap.dice_per_class(liver, empty) == {"liver": 0.0, "tumour": 1.0}


def test_dice_per_class_refuses_other_shapes():
    with pytest.raises(ValueError, match="shapes differ"):
        overlap.dice_per_class(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
