"""Scores of sets by hand: pooling, size bins, free response, volumes."""

import json
import math

import numpy as np
import pytest

from dsdenseunet.evaluation import cohort, score, volumes
from dsdenseunet.evaluation.case import CaseScore
from dsdenseunet.evaluation.free_response import free_response
from dsdenseunet.evaluation.size_bins import score_by_size

SPACING = (1.0, 1.0, 1.0)


def case(reference, prediction, mode="corrected", spacing=SPACING):
    """Strings of labels, one voxel a digit."""
    arrays = [np.array([[list(map(int, text))]], np.uint8) for text in (prediction, reference)]
    return score.score_case(*arrays, spacing, mode)


def test_per_case_is_a_mean_and_global_is_pooled():
    cases = [case("1122", "1122"), case("11111112", "11111111")]
    scores = cohort.score_set(cases)
    assert scores["lesion_dice_per_case"] == (1 + 0) / 2
    assert scores["lesion_dice_global"] == 2 * 2 / (2 + 2 + 1)
    assert scores["liver_dice_per_case"] == scores["liver_dice_global"] == 1


def test_counts_are_pooled_over_the_set():
    cases = [case("12121", "12111"), case("11112", "21112")]
    scores = cohort.score_set(cases)
    assert scores["lesion_recall"] == 2 / 3
    assert scores["lesion_precision"] == 2 / 3


def test_burden_errors_by_hand():
    # Burdens 1/4 and 3/4, then 2/4 and 1/4: differences -1/2 and 1/4.
    pairs = [("2111", "2221"), ("2211", "2111")]
    for mode, maximum in (("official", 0.25), ("corrected", 0.5)):
        scores = cohort.score_set([case(*pair, mode=mode) for pair in pairs])
        assert scores["RMSE_Tumorburden"] == pytest.approx(math.sqrt((0.25 + 0.0625) / 2))
        assert scores["MAXERROR_Tumorburden"] == maximum


def test_nothing_detected():
    pair = ("1121", "1111")
    official = cohort.score_set([case(*pair, mode="official")])
    corrected = cohort.score_set([case(*pair)])
    assert [official[f"lesion_{name}"] for name in ("precision", "dice", "voe", "assd")] == [0, 0, 1, 9001]
    assert [corrected[f"lesion_{name}"] for name in ("precision", "dice", "voe", "assd")] == [None] * 4
    assert official["lesion_recall"] == corrected["lesion_recall"] == 0


def test_official_names_are_complete():
    lesion = ["precision", "recall", "precision_greater_zero", "recall_greater_zero"]
    shared = ["jaccard", "voe", "rvd", "assd", "rmsd", "msd", "dice_per_case", "dice_global"]
    names = {f"lesion_{name}" for name in [*lesion, "dice", *shared]} | {f"liver_{name}" for name in shared}
    names |= {"RMSE_Tumorburden", "MAXERROR_Tumorburden"}
    # The original also writes the liver's mean Dice a second time.
    assert set(cohort.score_set([case("12", "12")])) == names | {"liver_dice"}


def test_volumes_and_their_errors():
    scored = case("1122", "1112", spacing=(2.0, 5.0, 10.0))
    assert scored.volumes_ml["tumour_reference"] == pytest.approx(0.2)
    assert scored.volumes_ml["liver_prediction"] == pytest.approx(0.4)
    extra = {name: term.value() for name, term in cohort.extra_terms([scored]).items()}
    assert extra["tumour_volume_difference_ml"] == pytest.approx(-0.1)
    assert extra["tumour_volume_error_ml"] == pytest.approx(0.1)


def test_equivalent_diameter_of_a_sphere():
    assert volumes.equivalent_diameter_mm(4 / 3 * math.pi * 5**3 / 1000) == pytest.approx(10)


def test_size_bins_by_hand():
    # Two voxels of 100 mm3 are 7.3 mm across, one is 5.8 mm: both in the second bin, the third of 0.
    rows = score_by_size([case("2211211", "2111111", spacing=(4.0, 5.0, 5.0))])
    assert [row["lesions"] for row in rows] == [0, 2, 0, 0]
    assert rows[0]["dice"] is None
    assert rows[1]["touched"] == 1 / 2
    assert rows[1]["detected"] == 0
    assert rows[1]["dice"] == pytest.approx((2 / 3) / 2)
    assert rows[1]["dice_touched"] == pytest.approx(2 / 3)
    assert rows[3]["to_mm"] is None


def test_free_response_by_hand():
    # Predictions of 3 voxels (true), 2 (false) and 1 (true); two lesions, two cases.
    cases = [case("2221111", "2221122"), case("1112", "1112")]
    result = free_response(cases)
    assert [(p["false_positives"], p["sensitivity"]) for p in result["curve"]] == [
        (0, 0),
        (0, 0.5),
        (0.5, 0.5),
        (0.5, 1),
    ]
    assert result["at"]["0.125"] == 0.5
    assert result["at"]["0.5"] == 1
    assert result["mean"] == pytest.approx((2 * 0.5 + 5 * 1) / 7)


def test_free_response_without_lesions_or_predictions():
    assert free_response([case("11", "12")]) is None
    assert free_response([case("12", "11")])["mean"] == 0


def test_a_case_survives_json():
    for mode in ("official", "corrected"):
        scored = case("1221200", "1211122", mode)
        assert CaseScore.from_json(json.loads(json.dumps(scored.to_json()))) == scored
