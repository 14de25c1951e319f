import numpy as np
import pytest
from scipy import stats

from dsdenseunet.evaluation import statistics
from dsdenseunet.evaluation.cohort import Ratio


def mean_of(values):
    values = np.asarray(values, np.float64)
    return Ratio(values, np.ones_like(values))


def terms(values):
    return dict.fromkeys(statistics.COMPARED, mean_of(values))


def by_name(rows):
    return {row.name: row for row in rows}


def test_ratio_by_hand():
    term = Ratio(np.array([1.0, 2.0]), np.array([2.0, 6.0]), empty=7.0)
    assert term.value() == 3 / 8
    assert term.weighted(np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])).tolist() == [1 / 2, 1 / 3, 7.0]
    assert Ratio(np.array([4.0]), np.array([1.0]), root=True).value() == 2
    assert Ratio(np.array([0.0]), np.array([0.0])).value() is None


def test_interval_is_that_of_scipys_bootstrap():
    values = np.random.default_rng(0).normal(0.7, 0.1, 40)
    low, high = statistics.interval(mean_of(values), statistics.case_weights(40, seed=1))
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert low == pytest.approx(expected.low, abs=2e-3)
    assert high == pytest.approx(expected.high, abs=2e-3)


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    weights = statistics.case_weights(30, resamples=1000)
    intervals = [statistics.interval(mean_of(rng.normal(0.5, 0.2, 30)), weights) for _ in range(400)]
    covered = np.mean([low <= 0.5 <= high for low, high in intervals])
    assert 0.89 <= covered <= 0.98


def test_intervals_are_seeded_and_need_two_cases():
    assert np.array_equal(statistics.case_weights(5, 1, 10), statistics.case_weights(5, 1, 10))
    assert not np.array_equal(statistics.case_weights(5, 1, 10), statistics.case_weights(5, 2, 10))
    assert statistics.interval(mean_of([0.5]), statistics.case_weights(1)) is None
    undefined = Ratio(np.zeros(3), np.zeros(3))
    assert statistics.interval(undefined, statistics.case_weights(3)) is None


def test_repetitions_widen_an_interval_by_what_they_differ_in_and_leave_the_p_value_of_their_means():
    assert np.array_equal(statistics.crossed_weights(5, 1), statistics.case_weights(5))
    grid = np.random.default_rng(0).normal(0.5, 0.01, 12) + np.array([[0.0], [0.1], [0.2]])
    weights = statistics.crossed_weights(12, 3)
    assert np.all(weights.sum(axis=1) == 36)
    low, high = statistics.interval(mean_of(grid.ravel()), weights)
    # Three values 0.1 apart, drawn with replacement: now and then one of them thrice.
    assert high - low == pytest.approx(0.2, abs=0.02)
    other = grid[::-1] - 0.02
    name = {"liver_dice_per_case": True}
    crossed, averaged = (
        statistics.compare(
            {"liver_dice_per_case": mean_of(one.ravel())},
            {"liver_dice_per_case": mean_of(two.ravel())},
            of,
            compared=name,
            repeats=repeats,
        )[0]
        for one, two, of, repeats in (
            (grid, other, weights, 3),
            (grid.mean(axis=0), other.mean(axis=0), statistics.case_weights(12), 1),
        )
    )
    assert crossed.p_value == averaged.p_value == pytest.approx(2 / 2**12)
    assert (averaged.better, crossed.better) == ("first", "undecided")


@pytest.mark.parametrize("cases", [10, 25])
def test_p_value_is_that_of_scipys_paired_permutations(cases):
    rng = np.random.default_rng(4)
    first = rng.normal(0.70, 0.1, cases)
    second = first + rng.normal(0.03, 0.06, cases)
    row = statistics.compare(terms(first), terms(second), statistics.case_weights(cases))[0]
    expected = stats.permutation_test(
        (first, second),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(5),
    )
    assert row.p_value == pytest.approx(expected.pvalue, abs=0.01)
    assert row.difference == pytest.approx(np.mean(first - second))


def test_a_difference_inside_the_noise_is_not_called_one():
    rng = np.random.default_rng(6)
    called = 0
    for _ in range(200):
        first, second = rng.normal(0.7, 0.1, (2, 20))
        rows = statistics.compare(terms(first), terms(second), statistics.case_weights(20, resamples=500))
        called += rows[0].better != "undecided"
    assert called <= 10


def test_a_clear_difference_is_called_and_names_the_better():
    rng = np.random.default_rng(7)
    first = rng.normal(0.7, 0.1, 30)
    rows = by_name(statistics.compare(terms(first), terms(first - 0.1), statistics.case_weights(30)))
    assert rows["lesion_dice_per_case"].better == "first"
    # Of an error, less is better.
    assert rows["RMSE_Tumorburden"].better == "second"
    assert rows["lesion_dice_per_case"].low == pytest.approx(0.1)
    assert rows["lesion_dice_per_case"].reason == ""


def test_few_cases_cannot_show_a_difference():
    row = statistics.compare(terms([0.9] * 5), terms([0.1] * 5), statistics.case_weights(5))[0]
    assert row.better == "undecided"
    assert row.reason == "5 cases are too few for any difference to show"
    assert row.p_value == 2 / 2**5


def test_equal_methods_and_undefined_scores():
    weights = statistics.case_weights(20)
    same = statistics.compare(terms([0.5] * 20), terms([0.5] * 20), weights)[0]
    assert (same.p_value, same.p_adjusted, same.reason) == (1, 1, "inside the noise")
    undefined = dict.fromkeys(statistics.COMPARED, Ratio(np.zeros(20), np.zeros(20)))
    row = statistics.compare(terms([0.5] * 20), undefined, weights)[0]
    assert (row.difference, row.p_value, row.reason) == (None, None, "not defined for both")


def test_holms_correction_by_hand():
    assert statistics.holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "c": 0.06, "b": 0.06}
    )
