import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from dsdenseunet.data import warp
from dsdenseunet.data.chance import Chance
from dsdenseunet.data.elastic import Elastic
from dsdenseunet.data.warp import Warp

NEVER = Chance(0.0, 1.0, 1.0, 1.0)
STIFF = Elastic(Chance(0.0, 0.0, 3.0, 0.0), (10.0, 10.0, 10.0))
RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(9, 12, 14)).astype(np.float32)
LABELS = RNG.integers(0, 3, IMAGE.shape).astype(np.uint8)


def positions(shape, patch):
    """Of a patch in the middle of a volume, voxel by voxel."""
    d, h, w = (np.arange(side) + (n - side) // 2 for n, side in zip(shape, patch))
    return d.astype(float), h.astype(float), w.astype(float)


def sampled(image, labels, where, matrix, box_size=None, elastic=STIFF, points=None):
    box = warp.cut_box(image, labels, where, matrix, points, box_size or image.shape)
    patch = tuple(len(axis) for axis in where)
    return warp.sample(np, box, box["image"].astype(np.float32)[..., None], patch, -1, elastic)


def test_without_a_turn_voxels_stay_what_they_are():
    where = positions(IMAGE.shape, (4, 6, 8))
    image, labels = sampled(IMAGE, LABELS, where, np.eye(3))
    np.testing.assert_array_equal(image[..., 0], IMAGE[2:6, 3:9, 3:11])
    np.testing.assert_array_equal(labels, LABELS[2:6, 3:9, 3:11])


def test_outside_the_volume_is_background():
    where = tuple(np.arange(-2.0, n + 2) for n in IMAGE.shape)
    image, labels = sampled(IMAGE, LABELS, where, np.eye(3))
    np.testing.assert_array_equal(image[2:-2, 2:-2, 2:-2, 0], IMAGE)
    assert np.all(image[:2] == -1)
    assert not labels[:, :2].any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_quarter_turn_about_each_axis(axis):
    volume, labels = IMAGE[:8, :8, :8], LABELS[:8, :8, :8]
    angles = np.zeros(3)
    angles[axis] = np.pi / 2
    image, turned = sampled(volume, labels, positions(volume.shape, (8, 8, 8)), warp.rotation(angles))
    plane = tuple(other for other in range(3) if other != axis)
    np.testing.assert_allclose(image[..., 0], np.rot90(volume, -1, plane), atol=1e-5)
    np.testing.assert_array_equal(turned, np.rot90(labels, -1, plane))


def test_any_matrix_is_scipys_affine_transform():
    angles = np.deg2rad([10.0, -25.0, 40.0])
    matrix = warp.rotation(angles) * np.array([1.2, 0.9, 1.0])
    where = positions(IMAGE.shape, IMAGE.shape)
    image, _ = sampled(IMAGE, LABELS, where, matrix)
    middle = (np.array(IMAGE.shape) - 1) / 2
    arguments = {"offset": middle - matrix @ middle, "order": 1}
    expected = ndimage.affine_transform(IMAGE, matrix, mode="nearest", **arguments)
    whole = ndimage.affine_transform(np.ones_like(IMAGE), matrix, mode="constant", **arguments) == 1
    assert 0.2 < whole.mean() < 1
    np.testing.assert_allclose(image[..., 0][whole], expected[whole], atol=1e-4)


def test_a_label_is_the_class_of_the_largest_share():
    labels = np.zeros((2, 2, 2), np.uint8)
    labels[0], labels[1, 0, 0], labels[1, 0, 1] = 1, 2, 2
    # Half of a voxel along W, and so many along D, towards the second slice, whose first row is of class 2.
    where = np.array([0.4]), np.array([0.0]), np.array([0.5])
    for depth, expected in ((0.4, 1), (0.6, 2)):
        _, label = sampled(labels.astype(float), labels, (np.array([depth]), *where[1:]), np.eye(3))
        assert label.item() == expected
    # A class that is the nearest voxel's has less than two others of one class together.
    labels = np.array([0, 1], np.uint8).reshape(1, 1, 2)
    labels = np.concatenate([labels, np.array([1, 0], np.uint8).reshape(1, 1, 2)], 1)
    _, label = sampled(
        labels.astype(float), labels, (np.zeros(1), np.array([0.45]), np.array([0.05])), np.eye(3)
    )
    # Shares of class 0: 0.55 * 0.95 + 0.45 * 0.05 = 0.545.
    assert label.item() == 0
    labels[0, 0, 0] = 2
    _, label = sampled(
        labels.astype(float), labels, (np.zeros(1), np.array([0.45]), np.array([0.15])), np.eye(3)
    )
    # Class 2, the nearest: 0.55 * 0.85 = 0.4675; class 1: 0.55 * 0.15 + 0.45 * 0.85 = 0.465.
    assert label.item() == 2
    _, label = sampled(
        labels.astype(float), labels, (np.zeros(1), np.array([0.47]), np.array([0.15])), np.eye(3)
    )
    # 0.53 * 0.85 = 0.4505 against 0.53 * 0.15 + 0.47 * 0.85 = 0.479.
    assert label.item() == 1


def test_a_turn_is_one_in_millimetres():
    """A ball of 5 mm stays a ball where slices are four times as far apart as pixels."""
    spacing = np.array([4.0, 1.0, 1.0])
    grid = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in (9, 33, 33)), indexing="ij"), -1)
    ball = (np.linalg.norm(grid * spacing, axis=-1) <= 10).astype(np.uint8)
    for seed in range(4):
        matrix = Warp(1.0, (90.0, 90.0, 90.0), NEVER, STIFF).draw(np.random.default_rng(seed), spacing)
        _, labels = sampled(ball.astype(np.float32), ball, positions(ball.shape, ball.shape), matrix)
        both = 2 * np.sum(labels * ball) / (labels.sum() + ball.sum())
        assert both > 0.9
        # The same turn of voxels would not.
        plain = matrix * spacing[:, None] / spacing
        _, bent = sampled(ball.astype(np.float32), ball, positions(ball.shape, ball.shape), plain)
        assert 2 * np.sum(bent * ball) / (bent.sum() + ball.sum()) < both


def test_scaling_shows_things_larger():
    matrix = Warp(0.0, (0.0, 0.0, 0.0), Chance(1.0, 2.0, 2.0, 1.0), STIFF).draw(RNG, (1.0, 1.0, 1.0))
    np.testing.assert_allclose(matrix, np.eye(3) / 2)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1000),
    patch=st.tuples(*[st.integers(1, 14)] * 3),
    spacing=st.sampled_from([(1.0, 1.0, 1.0), (5.0, 0.7, 0.7), (1.0, 2.0, 0.5)]),
    corner=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_a_box_holds_all_that_is_sampled(seed, patch, spacing, corner):
    """The same patch comes of the box as of the whole volume."""
    rng = np.random.default_rng(seed)
    elastic = Elastic(Chance(0.7, 0.0, 0.5, 0.0), (3.0, 5.0, 4.0))
    drawn = Warp(0.9, (20.0, 30.0, 10.0), Chance(0.5, 0.7, 1.4, 1.0), elastic)
    matrix, points = drawn.draw(rng, spacing), elastic.draw(rng, patch, spacing)
    where = tuple(corner * (n - side) + np.arange(side) for n, side in zip(IMAGE.shape, patch))
    box_size = drawn.box_size([side - 1 for side in patch], [IMAGE.shape], [spacing])
    assert all(side <= n for side, n in zip(box_size, IMAGE.shape))
    small, whole = (
        sampled(IMAGE, LABELS, where, matrix, size, elastic, points) for size in (box_size, IMAGE.shape)
    )
    np.testing.assert_allclose(small[0], whole[0], atol=1e-4)


def test_each_happens_to_its_share_of_patches():
    rng, spacing = np.random.default_rng(0), (2.0, 1.0, 1.0)
    drawn = [Warp(0.3, (10.0, 10.0, 10.0), NEVER, STIFF).draw(rng, spacing) for _ in range(1000)]
    turned = [matrix for matrix in drawn if not np.array_equal(matrix, np.eye(3))]
    assert len(turned) / 1000 == pytest.approx(0.3, abs=0.05)
    # A rotation in millimetres, and none by more than three times 10 degrees.
    for matrix in turned:
        rotated = matrix * np.reshape(spacing, (3, 1)) / spacing
        np.testing.assert_allclose(rotated @ rotated.T, np.eye(3), atol=1e-12)
        assert np.trace(rotated) > 1 + 2 * np.cos(np.deg2rad(30))
