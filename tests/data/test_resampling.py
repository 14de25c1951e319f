"""Resampling: against SciPy, against JAX's own, by hand; round trips; equal grids."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from dsdenseunet.data.resampling import (
    Slices,
    along,
    resample_image,
    resample_labels,
    shape_at,
    spacing_at,
    taps,
)

SIDES = st.integers(1, 12)


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def balls(shape, spacing_mm):
    """Two nested balls, 40 and 20 mm across and off each other's centre, in 60 mm of background."""
    places = np.stack(
        np.meshgrid(*((np.arange(n) + 0.5) * mm for n, mm in zip(shape, spacing_mm)), indexing="ij"), -1
    )
    outer = np.linalg.norm(places - (30, 31, 29), axis=-1) < 20
    inner = np.linalg.norm(places - (33, 28, 29), axis=-1) < 10
    return outer.astype(np.uint8) + inner


def zoomed(image, shape):
    """SciPy's linear interpolation between grids that share their edges."""
    zoom = [n / m for n, m in zip(shape, image.shape)]
    return ndimage.zoom(image, zoom, order=1, mode="nearest", grid_mode=True)


def dice(one, two):
    return 2 * np.count_nonzero(one & two) / (np.count_nonzero(one) + np.count_nonzero(two))


def test_a_shape_is_the_nearest_to_the_wanted_spacing():
    assert shape_at((40, 100, 90), (5.0, 0.7, 0.75), ()) == (40, 100, 90)
    assert shape_at((40, 100, 90), (5.0, 0.7, 0.75), (2.0, 1.5, 1.5)) == (100, 47, 45)
    assert shape_at((1, 2, 2), (1.0, 1.0, 1.0), (9.0, 1.0, 1.0)) == (1, 2, 2)
    # The box of 70 mm is cut into 47 voxels, whatever was wished for.
    assert spacing_at((40, 100, 90), (5.0, 0.7, 0.75), (100, 47, 90)) == (2.0, 70 / 47, 0.75)


def test_weights_by_hand():
    # Voxels of two thirds: centres at -1/6, 1/2, 7/6 in voxels of the source.
    source, weight = taps(2, 3)
    dense = np.zeros((3, 2), np.float32)
    np.add.at(dense, (np.arange(3)[:, None], source), weight)
    np.testing.assert_allclose(dense, [[1, 0], [1 / 2, 1 / 2], [0, 1]], atol=1e-7)
    # Voxels twice as large: the kernel reaches over 1/4, 3/4, 3/4, 1/4 of four; at the ends of three only.
    wide = taps(8, 4, averaging=True)
    assert wide.weight[1].tolist() == [1 / 8, 3 / 8, 3 / 8, 1 / 8]
    np.testing.assert_allclose(wide.weight[0], [0, 3 / 7, 3 / 7, 1 / 7], atol=1e-7)
    # Without averaging two at the centre are left.
    assert taps(8, 4).weight.tolist() == [[1 / 2, 1 / 2]] * 4
    assert taps(8, 4).source.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


@given(SIDES, SIDES)
def test_every_voxel_is_a_mean_of_voxels_around_it(size, new):
    source, weight = taps(size, new, averaging=True)
    assert (weight >= 0).all() and source.min() >= 0 and source.max() < size
    np.testing.assert_allclose(weight.sum(axis=1), 1, atol=1e-6)
    if new <= size:  # None is left out.
        assert set(source[weight > 0]) == set(range(size))


@given(st.tuples(SIDES, SIDES, SIDES), st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)))
def test_finer_grids_are_scipy_s(shape, more):
    new = tuple(n + extra for n, extra in zip(shape, more))
    image = noise(shape)
    np.testing.assert_allclose(resample_image(image, new, whole=False), zoomed(image, new), atol=2e-6)


@given(SIDES, SIDES)
def test_without_averaging_coarser_grids_are_scipy_s_too(size, new):
    image = noise((size, 1, 1))
    found = along(image, taps(size, new), axis=0)
    np.testing.assert_allclose(found, zoomed(image, (new, 1, 1)), atol=2e-6)


@pytest.mark.parametrize("new", [(4, 20, 11), (3, 5, 4), (1, 1, 1), (17, 3, 20)])
def test_coarser_grids_are_jax_s_antialiased_ones(new):
    image = noise((9, 14, 11))
    expected = jax.image.resize(image, new, "linear", precision="highest")
    np.testing.assert_allclose(resample_image(image, new, whole=False), expected, atol=3e-6)


def test_the_same_grid_is_the_same_array():
    image, labels = noise((3, 4, 5)), np.zeros((3, 4, 5), np.uint8)
    assert resample_image(image, (3, 4, 5), whole=False) is image
    assert resample_labels(labels, (3, 4, 5)) is labels
    # Along an axis that stays, every bit stays.
    taller = resample_image(np.broadcast_to(image[:1], (3, 4, 5)), (6, 4, 5), whole=False)
    np.testing.assert_array_equal(taller, np.broadcast_to(image[:1], (6, 4, 5)))


def test_hounsfield_units_stay_whole_and_in_range():
    image = np.array([-32768, 32767, 32767], np.int16).reshape(3, 1, 1)
    out = resample_image(image, (7, 1, 1), whole=True)
    assert out.dtype == np.int16 and (out.min(), out.max()) == (-32768, 32767)
    exact = resample_image(image, (7, 1, 1), whole=False)
    assert exact.dtype == np.float32
    np.testing.assert_array_equal(out, np.rint(exact))


def test_channels_are_resampled_each_by_itself():
    image = noise((5, 6, 7, 2))
    out = resample_image(image, (4, 9, 7), whole=False)
    for channel in range(2):
        alone = resample_image(image[..., channel], (4, 9, 7), whole=False)
        np.testing.assert_array_equal(out[..., channel], alone)


def test_slices_are_those_of_the_whole():
    image = noise((9, 6, 7))
    slices = Slices(image, (14, 8, 5), whole=False)
    whole = resample_image(image, (14, 8, 5), whole=False)
    for part in (slice(0, 6), slice(3, 9), slice(8, 14), slice(0, 2)):
        np.testing.assert_array_equal(slices[part], whole[part])


def test_the_label_with_the_largest_share_wins_whatever_its_number():
    # The new voxel's centre is that of 7.
    labels = np.array([0, 7, 200], np.uint8).reshape(1, 1, 3)
    assert resample_labels(labels, (1, 1, 1)).item() == 7
    assert resample_labels(labels[..., ::-1], (1, 1, 1)).item() == 7
    # Two of equal share.
    assert resample_labels(labels[..., :2], (1, 1, 1)).item() == 7
    assert resample_labels(labels[..., 1::-1], (1, 1, 1)).item() == 7


@given(st.lists(st.integers(0, 255), min_size=2, max_size=4, unique=True), st.integers(0, 5))
def test_numbers_of_labels_carry_no_meaning(numbers, seed):
    """As the arg max over every class's own interpolation says."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, len(numbers), (5, 4, 6))
    labels = np.array(numbers, np.uint8)[which]
    out = resample_labels(labels, (7, 3, 6))
    shares = np.stack([zoomed((labels == n).astype(np.float32), (7, 3, 6)) for n in numbers])
    chosen = np.take_along_axis(
        shares, np.array(numbers).argsort()[np.searchsorted(np.sort(numbers), out)][None], 0
    )
    np.testing.assert_allclose(chosen[0], shares.max(axis=0), atol=1e-6)


def test_small_lesions_keep_their_volume_in_thick_slices():
    """Of balls of 3 mm radius in slices of 5 mm, at 1.5 mm; an averaging kernel leaves 0.62."""
    rng = np.random.default_rng(1)
    before = after = 0.0
    for _ in range(6):
        centre = rng.uniform(14, 16, 3)
        places = np.meshgrid(
            *((np.arange(n) + 0.5) * mm for n, mm in ((6, 5.0), (43, 0.7), (43, 0.7))), indexing="ij"
        )
        labels = (np.linalg.norm(np.stack(places, -1) - centre, axis=-1) < 3).astype(np.uint8)
        before += labels.sum() * 5.0 * 0.7**2
        after += resample_labels(labels, (20, 20, 20)).sum() * 1.5 * (30.1 / 20) ** 2
    assert after == pytest.approx(before, rel=0.05)


@pytest.mark.parametrize(
    ("spacing_mm", "least"),
    [((1.0, 1.0, 1.0), (0.98, 0.96)), ((5.0, 1.0, 1.0), (0.97, 0.94)), ((0.75, 0.6, 0.6), (0.98, 0.96))],
)
def test_labels_there_and_back(spacing_mm, least):
    """Half a voxel of 1.5 mm along the whole surface would cost the balls 0.05 and 0.1 of their Dice."""
    shape = tuple(round(60 / mm) for mm in spacing_mm)
    labels = balls(shape, spacing_mm)
    coarse = resample_labels(labels, shape_at(shape, spacing_mm, (1.5, 1.5, 1.5)))
    again = resample_labels(coarse, shape)
    scores = dice(again > 0, labels > 0), dice(again == 2, labels == 2)
    assert scores[0] > least[0] and scores[1] > least[1]
    volume = np.count_nonzero(coarse) * np.prod(spacing_at(shape, spacing_mm, coarse.shape))
    assert volume == pytest.approx(np.count_nonzero(labels) * np.prod(spacing_mm), rel=0.02)
