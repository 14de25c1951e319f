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
