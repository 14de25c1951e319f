"""Each fault of the challenge's scorer on a line of voxels, counted by hand in both modes.

A row is a string of reference over prediction; "#" is tumour, everything else is liver. Both strings
become one row of a flat volume, so that neighbouring letters touch and nothing else does.
"""

import numpy as np
import pytest

from dsdenseunet.evaluation import score

SPACING = (1.0, 1.0, 2.0)


def volume(*rows):
    """Rows become lines that are two voxels apart, so that lesions of different rows never touch."""
    labels = np.ones((1, 2 * len(rows), max(map(len, rows))), np.uint8)
    for number, row in enumerate(rows):
        for position, letter in enumerate(row):
            if letter == "#":
                labels[0, 2 * number, position] = 2
    return labels


def both(reference, prediction):
    return score.score_modes(volume(*prediction), volume(*reference), SPACING)


def counts(case):
    """(true reference, true prediction, false positive, false negative) at IoU > 0.5."""
    detection = case.detection[1]
    return (
        detection.true_reference,
        detection.true_prediction,
        detection.false_positive,
        detection.false_negative,
    )


def causes(case, side="reference"):
    return [record.cause for record in case.lesion_records if record.side == side]


def test_a_perfect_prediction_counts_alike():
    cases = both(["##.###.#"], ["##.###.#"])
    for case in cases.values():
        assert counts(case) == (3, 3, 0, 0)
        assert case.tumour_dice == 1
        assert [item.dice for item in case.objects] == [1, 1, 1]
        assert causes(case) == ["", "", ""]


def test_reference_without_lesions():
    cases = both(["........"], ["##....#."])
    assert counts(cases["official"]) == counts(cases["corrected"]) == (0, 0, 2, 0)
    assert score.NO_TUMOUR in cases["official"].marks
    assert cases["corrected"].marks == ()
    assert cases["official"].tumour_dice == 0


def test_neither_has_lesions():
    cases = both(["...."], ["...."])
    for case in cases.values():
        assert counts(case) == (0, 0, 0, 0)
        assert case.tumour_dice == 1
        assert case.surface_dice["tumour_1mm"] == 1


def test_an_earlier_false_positive_makes_a_bad_lesion_count():
    # The reference's only lesion is number 1, its prediction number 2: the marked prediction is looked
    # up under its old number, found nowhere, and the union is the reference alone: 4 / 4 instead of 4 / 10.
    reference, prediction = ["..........", "####......"], ["#.........", "##########"]
    cases = both(reference, prediction)
    assert counts(cases["official"]) == (1, 1, 1, 0)
    assert counts(cases["corrected"]) == (0, 0, 2, 1)
    assert causes(cases["official"]) == ["IoU 1.000 taken with another prediction's number; it is 0.400"]
    assert cases["official"].lesion_records[0].group_iou == 1
    assert cases["corrected"].lesion_records[0].group_iou == pytest.approx(0.4)


def test_merged_and_rejected_lesions_are_taken_away_twice():
    reference, prediction = ["#......#", "........"], ["########", "........"]
    cases = both(reference, prediction)
    assert counts(cases["official"]) == (-1, -1, 2, 3)
    assert counts(cases["corrected"]) == (0, 0, 1, 2)
    cause = "2 merged reference lesions count once and are taken away 2 times"
    assert causes(cases["official"]) == causes(cases["corrected"]) == [cause, cause]


def test_two_predictions_of_one_lesion():
    cases = both(["#######"], ["###.###"])
    assert counts(cases["official"]) == (1, 1, 1, 0)
    assert counts(cases["corrected"]) == (1, 2, 0, 0)
    assert causes(cases["official"]) == ["2 predictions of one lesion: 1 false"]


def test_one_prediction_over_two_lesions():
    cases = both(["###.###"], ["#######"])
    assert counts(cases["official"]) == (1, 1, 0, 1)
    assert counts(cases["corrected"]) == (2, 1, 0, 0)
    assert causes(cases["official"]) == ["2 reference lesions under one prediction count as 1"] * 2
    # One object with both lesions: 2 * 6 / 13.
    assert [item.dice for item in cases["corrected"].objects] == [pytest.approx(12 / 13)]


def test_an_overlap_of_exactly_one_half_is_not_detected():
    cases = both(["##"], ["#."])
    for case in cases.values():
        assert counts(case) == (0, 0, 1, 1)
        assert case.detection[0].true_reference == 1


def test_overestimated_burden_is_an_error_too():
    # One of 8 voxels against seven of 8.
    cases = both(
        [
            "#.......",
        ],
        ["#######."],
    )
    # Rows lie on every second line, so that half of the voxels are liver in any case.
    for case in cases.values():
        assert case.burden_reference == 1 / 16
        assert case.burden_prediction == 7 / 16
        assert case.burden_difference == pytest.approx(-6 / 16)


def test_a_prediction_of_tumour_alone():
    reference = volume("#...")
    cases = score.score_modes(np.full_like(reference, 2), reference, SPACING)
    official, corrected = cases["official"], cases["corrected"]
    assert (official.liver_dice, official.liver.voe, official.liver.rvd) == (0, 1, 9001)
    assert official.liver_counts.prediction == official.liver_counts.intersection == 0
    assert official.liver_counts.reference == 8
    assert official.burden_difference == pytest.approx(1 / 8 - 9001)
    assert corrected.liver_dice == 1
    assert corrected.liver.assd == 0
    assert corrected.burden_difference == pytest.approx(1 / 8 - 1)
    assert official.marks == (score.NO_LABEL_1,)


def test_an_empty_prediction():
    reference = volume("#...")
    cases = score.score_modes(np.zeros_like(reference), reference, SPACING)
    corrected = cases["corrected"]
    assert corrected.liver_dice == 0
    assert corrected.liver.rvd == -1
    assert corrected.liver.assd is None
    assert corrected.burden_difference == pytest.approx(1 / 8)
    assert corrected.marks == (score.LIVER_UNDEFINED,)


def test_volume_difference_runs_the_usual_way_when_corrected():
    cases = both(["####"], ["###."])
    assert cases["official"].objects[0].rvd == pytest.approx((4 - 3) / 3)
    assert cases["corrected"].objects[0].rvd == pytest.approx((3 - 4) / 4)


def test_equal_overlaps_are_decided_by_size_when_corrected():
    # Both predictions cover two voxels of the reference; the second is all inside.
    reference, prediction = ["....##.##...."], ["######.##...."]
    reference = ["....#####...."]
    cases = both(reference, prediction)
    assert counts(cases["corrected"]) == (0, 0, 2, 1)
    assert cases["corrected"].lesion_records[0].group_iou == pytest.approx(4 / 9)


def test_corrected_counts_do_not_depend_on_direction():
    rng = np.random.default_rng(7)
    for _ in range(60):
        prediction, reference = rng.choice([1, 2], size=(2, 5, 6, 7), p=[0.75, 0.25]).astype(np.uint8)
        straight = score.score_case(prediction, reference, (1.0, 2.0, 3.0))
        turned = score.score_case(prediction.T, reference.T, (3.0, 2.0, 1.0))
        assert straight.detection[0] == turned.detection[0]
        assert straight.liver_dice == turned.liver_dice
        for name, value in straight.surface_dice.items():
            assert turned.surface_dice[name] == pytest.approx(value)


def test_corrected_counts_add_up():
    rng = np.random.default_rng(8)
    for _ in range(60):
        prediction, reference = rng.choice([1, 2], size=(2, 5, 6, 7), p=[0.75, 0.25]).astype(np.uint8)
        case = score.score_case(prediction, reference, (1, 1, 1))
        sides = [sum(r.side == side for r in case.lesion_records) for side in ("reference", "prediction")]
        for d in case.detection:
            assert min(d.true_reference, d.true_prediction, d.false_positive, d.false_negative) >= 0
            assert d.true_reference + d.false_negative == sides[0]
            assert d.true_prediction + d.false_positive == sides[1]
        assert case.detection[1].true_reference <= case.detection[0].true_reference


def test_other_input_is_refused():
    labels = np.zeros((2, 2, 2), np.uint8)
    with pytest.raises(ValueError, match="shapes differ"):
        score.score_case(labels, labels[:1], (1, 1, 1))
    with pytest.raises(ValueError, match="three axes"):
        score.score_case(labels[0], labels[0], (1, 1))
    with pytest.raises(ValueError, match="no such mode"):
        score.score_case(labels, labels, (1, 1, 1), "lenient")
