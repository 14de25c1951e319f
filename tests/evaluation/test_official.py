"""`official` mode against the challenge's scorer, which was run outside this project.

`data/official.npz` holds what it gave for the pairs of `label_pairs` with the seeds 0 to 11,999, one pair a
set, and for 400 sets of 2 to 10 pairs. Where it crashes, because a reference has no tumour, its lesion
detection was made to return "nothing detected" and the case is marked.
"""

from pathlib import Path

import numpy as np
import pytest

from dsdenseunet.evaluation import cohort, score
from tests.evaluation.label_pairs import checksum, make_pair

with np.load(Path(__file__).parent / "data" / "official.npz", allow_pickle=False) as archive:
    # Each look into the archive itself unpacks an array anew.
    EXPECTED = {name: archive[name] for name in archive.files}
NAMES = [str(name) for name in EXPECTED["names"]]
TOLERANCE = 1e-6
CHUNK = 1000


def official_numbers(pairs):
    """All numbers of the challenge's scorer for one set, in the order of `NAMES`."""
    cases = [score.score_case(*pair, mode="official") for pair in pairs]
    numbers = cohort.score_set(cases)
    for position, threshold in enumerate(("0", "0.5")):
        found = [case.detection[position] for case in cases]
        numbers[f"TP_{threshold}"] = sum(d.true_reference for d in found)
        numbers[f"FP_{threshold}"] = sum(d.false_positive for d in found)
        numbers[f"FN_{threshold}"] = sum(d.false_negative for d in found)
    return np.array([numbers[name] for name in NAMES]), cases


# What the original leaves undefined, dividing 0 by 0: a set without any tumour, a reference without liver.
DEFINED_HERE = {"lesion_dice_global": 1.0, "RMSE_Tumorburden": 0.0, "MAXERROR_Tumorburden": 0.0}


def assert_equal(found, expected, which):
    undefined = np.isnan(expected)
    assert all(found[i] == DEFINED_HERE[NAMES[i]] for i in np.flatnonzero(undefined)), which
    wrong = ~undefined & (np.abs(found - expected) > TOLERANCE)
    assert not wrong.any(), (which, [(NAMES[i], found[i], expected[i]) for i in np.flatnonzero(wrong)])


@pytest.mark.parametrize("start", range(0, 12_000, CHUNK))
def test_every_number_of_every_pair(start):
    pairs = [make_pair(seed) for seed in range(start, start + CHUNK)]
    # If only this fails, the generator has changed and the expected numbers are of other pairs.
    assert checksum(pairs) == EXPECTED["checksums"][start // CHUNK]
    for seed, pair in enumerate(pairs, start):
        found, cases = official_numbers([pair])
        assert_equal(found, EXPECTED["pairs"][seed], seed)
        assert (score.NO_TUMOUR in cases[0].marks) == EXPECTED["pairs_crash"][seed]


def test_every_number_of_sets_of_pairs():
    for index, expected in enumerate(EXPECTED["sets"]):
        first = 20_000 + 16 * index
        found, cases = official_numbers([make_pair(first + i) for i in range(2 + index % 9)])
        assert_equal(found, expected, index)
        assert any(score.NO_TUMOUR in case.marks for case in cases) == EXPECTED["sets_crash"][index]


def test_the_pairs_hold_what_they_are_meant_to():
    """Faults, crashes and crowds occur among them; otherwise equality would mean little."""
    values = dict(zip(NAMES, EXPECTED["pairs"].T))
    assert np.count_nonzero(values["TP_0.5"] < 0) > 1000
    assert np.count_nonzero(values["TP_0.5"] > 1) > 1000
    assert EXPECTED["pairs_crash"].sum() > 1000
    assert np.count_nonzero(values["liver_assd"] == 9001) > 100
    assert np.count_nonzero(values["TP_0.5"] + values["FN_0.5"] > 255) > 20


def test_a_reference_without_liver_is_marked():
    prediction = np.zeros((3, 3, 3), np.uint8)
    prediction[1, 1, 1] = 1
    case = score.score_case(prediction, np.zeros_like(prediction), (1, 1, 1), "official")
    assert score.NO_LIVER in case.marks
    assert case.burden_difference == 0
    assert case.liver.assd == 9001
