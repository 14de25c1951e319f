import numpy as np
import pytest
from scipy.interpolate import BSpline

from dsdenseunet.data.chance import Chance
from dsdenseunet.data.elastic import Elastic

PATCH = (7, 12, 21)
ELASTIC = Elastic(Chance(0.5, 1.0, 2.0, 0.0), (3.0, 4.5, 10.0))
SPACING = (2.0, 1.0, 0.5)


def displacement(points):
    return ELASTIC.displacement(np, points, PATCH)


def test_displacements_are_scipys_cubic_splines():
    points = np.random.default_rng(0).normal(
        size=ELASTIC.draw(np.random.default_rng(0), PATCH, SPACING).shape
    )
    expected = points
    for axis, (side, distance) in enumerate(zip(PATCH, ELASTIC.distance)):
        knots = np.arange(-3, expected.shape[axis] + 1) * distance
        expected = BSpline(knots, expected, 3, axis=axis)(np.arange(side))
    assert expected.shape == (*PATCH, 3)
    np.testing.assert_allclose(displacement(points), expected, atol=1e-5)


def test_equal_points_move_all_voxels_alike():
    points = np.ones(ELASTIC.draw(np.random.default_rng(0), PATCH, SPACING).shape) * (1.0, 2.0, -3.0)
    np.testing.assert_allclose(
        displacement(points), np.broadcast_to((1.0, 2.0, -3.0), (*PATCH, 3)), rtol=1e-6
    )


def test_displacements_are_in_millimetres_and_bounded():
    rng = np.random.default_rng(0)
    drawn = [ELASTIC.draw(rng, PATCH, SPACING) for _ in range(200)]
    bent = np.stack([points for points in drawn if points.any()])
    assert len(bent) / 200 == pytest.approx(0.5, abs=0.1)
    # The root mean square of deviations drawn evenly from 1 to 2 mm, in voxels.
    expected = np.sqrt(7 / 3) / np.array(SPACING)
    np.testing.assert_allclose(bent.std((0, 1, 2, 3)), expected, rtol=0.1)
    reach = ELASTIC.reach(SPACING)
    np.testing.assert_allclose(reach, 3 * 2.0 / np.array(SPACING))
    assert all(np.all(np.abs(displacement(points)) <= reach + 1e-5) for points in bent)


def test_it_draws_as_often_whether_it_happens_or_not():
    never = Elastic(Chance(0.0, 1.0, 2.0, 0.0), ELASTIC.distance)
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    assert not never
    assert not never.draw(one, PATCH, SPACING).any()
    ELASTIC.draw(other, PATCH, SPACING)
    assert one.random() == other.random()
