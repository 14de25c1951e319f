import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsdenseunet.data.fingerprint import intensities
from dsdenseunet.data.fingerprint.intensities import intensities_of, pooled


def test_values_of_a_case_by_hand():
    found, _ = intensities_of(np.array([3, 1, 2, 4, 10], np.int16))
    assert (found.voxels, found.mean, found.minimum, found.median, found.maximum) == (5, 4, 1, 3, 10)
    # Squares of the distances from 4: 1, 9, 4, 0, 36.
    assert found.deviation == pytest.approx(10**0.5)
    assert (found.low, found.high) == pytest.approx((1.02, 9.88))


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=50))
def test_quantiles_are_numpy_s(values):
    found, _ = intensities_of(np.array(values, np.int16))
    np.testing.assert_allclose(
        (found.low, found.median, found.high), np.quantile(values, (0.005, 0.5, 0.995)), atol=1e-9
    )


def test_evenly_spaced_voxels_speak_for_many(monkeypatch):
    monkeypatch.setattr(intensities, "MOST_VOXELS", 500)
    values = np.random.default_rng(0).normal(100, 20, (64, 32)).reshape(-1)
    found, _ = intensities_of(values)
    assert found.voxels == 2048
    assert found.mean == pytest.approx(100, abs=3) and found.mean != values.mean()


def test_pooled_cases_weigh_alike():
    small, large = (intensities_of(np.full(n, value)) for n, value in ((1, 0.0), (99, 10.0)))
    found = pooled([small, large])
    assert (found.voxels, found.mean, found.deviation) == (100, 5, 5)
    assert (found.minimum, found.low, found.median, found.high, found.maximum) == (0, 0, 5, 10, 10)


def test_no_voxel_and_no_case():
    assert intensities_of(np.empty(0)) is None
    assert pooled([]) is None
