import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from dsdenseunet.data.augment import Augmentation, gather_image, gather_labels, sample_positions
from dsdenseunet.tasks.channel import scaling_of
from dsdenseunet.tasks.lits import TASK

# Of an array without a channel axis: one channel.
WINDOW = scaling_of(TASK.channels, [()])[0]


def to_hu(share):
    """The Hounsfield value that becomes `share`."""
    return 25 + 225 * share


def test_unscaled_positions_are_voxels_around_the_centre():
    assert sample_positions(100, 50, 4, 1.0, False).tolist() == [48, 49, 50, 51]
    assert sample_positions(100, 50, 5, 1.0, False).tolist() == [48, 49, 50, 51, 52]
    assert sample_positions(100, 50, 4, 1.0, True).tolist() == [51, 50, 49, 48]


def test_patches_move_inwards_at_the_border():
    assert sample_positions(100, 0, 4, 1.0, False).tolist() == [0, 1, 2, 3]
    assert sample_positions(100, 99, 4, 1.0, False).tolist() == [96, 97, 98, 99]


def test_a_smaller_volume_lies_in_the_middle():
    assert sample_positions(3, 1, 7, 1.0, False).tolist() == [-2, -1, 0, 1, 2, 3, 4]
    assert sample_positions(3, 0, 8, 1.0, False).tolist() == [-3, -2, -1, 0, 1, 2, 3, 4]


def test_scaled_positions_span_patch_over_scale_voxels():
    # Zoom 2: four samples over two voxels, 48.5 to 50.5 in voxel edges.
    np.testing.assert_allclose(sample_positions(100, 49, 4, 2.0, False), [48.25, 48.75, 49.25, 49.75])
    # Zoom 0.5: four samples over eight voxels.
    np.testing.assert_allclose(sample_positions(100, 49, 4, 0.5, False), [46, 48, 50, 52])


@given(
    side=st.integers(1, 80),
    patch=st.integers(1, 64),
    scale=st.floats(0.5, 2),
    mirror=st.booleans(),
    data=st.data(),
)
def test_positions_stay_inside_a_volume_that_is_large_enough(side, patch, scale, mirror, data):
    centre = data.draw(st.integers(0, side - 1))
    positions = sample_positions(side, centre, patch, scale, mirror)
    assert positions.shape == (patch,)
    inside = (positions >= -0.5 - 1e-9) & (positions <= side - 0.5 + 1e-9)
    if patch / scale <= side:
        assert inside.all()
        # The centre is seen: it is within half a sample of one.
        assert np.abs(positions - centre).min() <= max(0.5, 0.5 / scale) + 1e-9
    else:
        assert inside.sum() >= int(side * scale) - 1


def test_labels_are_nearest_and_background_outside():
    labels = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    axis = np.array([-1.0, -0.4, 0.4, 0.6, 1.4, 1.6])
    out = gather_labels(labels, (np.array([1.0]), np.array([0.0]), axis))
    assert out.dtype == np.int32
    assert out.ravel().tolist() == [0, 4, 4, 5, 5, 0]


def test_image_is_linear_and_minus_one_outside():
    image = to_hu(np.array([0.0, 0.4])).reshape(1, 1, 2).astype(np.int16)
    axis = np.array([-0.6, -0.5, 0.0, 0.25, 1.0, 1.5, 1.6])
    out = gather_image(image, (np.zeros(1), np.zeros(1), axis), WINDOW)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.ravel(), [-1, 0, 0, 0.1, 0.4, 0.4, -1], atol=1e-3)


@pytest.mark.parametrize(
    "scale", [(1.0, 0.8, 0.8), (1.0, 1.2, 1.2), (0.9, 0.9, 0.9), (1.1, 1.1, 1.1), (1.0, 1.0, 1.0)]
)
def test_gathering_equals_scipys_interpolation(scale):
    rng = np.random.default_rng(0)
    image = rng.integers(-200, 250, (20, 30, 40)).astype(np.int16)
    labels = rng.integers(0, 3, (20, 30, 40)).astype(np.uint8)
    positions = tuple(
        sample_positions(*axis)
        for axis in zip(image.shape, (9, 17, 3), (8, 12, 16), scale, (True, False, True))
    )
    grid = np.meshgrid(*positions, indexing="ij")
    normalised = (image.astype(np.float64) - 25) / 225
    expected = ndimage.map_coordinates(normalised, grid, order=1, mode="nearest")
    np.testing.assert_allclose(gather_image(image, positions, WINDOW), expected, atol=1e-5)
    nearest = [
        np.clip(np.floor(axis + 0.5), 0, side - 1).astype(int) for axis, side in zip(positions, image.shape)
    ]
    np.testing.assert_array_equal(gather_labels(labels, positions), labels[np.ix_(*nearest)])


def test_without_zoom_a_patch_is_a_copy_of_voxels():
    rng = np.random.default_rng(0)
    image = rng.integers(-200, 251, (6, 7, 8)).astype(np.int16)
    positions = tuple(sample_positions(side, side // 2, 4, 1.0, False) for side in image.shape)
    out = gather_image(image, positions, WINDOW)
    np.testing.assert_allclose(out, (image[1:5, 1:5, 2:6] - 25.0) / 225, atol=1e-6)
    out[:] = 0
    assert image.any()


def test_a_volume_smaller_than_the_patch_is_padded_on_all_sides():
    image = np.full((2, 3, 4), 250, np.int16)
    labels = np.full((2, 3, 4), 2, np.uint8)
    positions = tuple(sample_positions(side, 1, 8, 1.0, False) for side in image.shape)
    out, out_labels = gather_image(image, positions, WINDOW), gather_labels(labels, positions)
    assert (out == 1).sum() == (out_labels == 2).sum() == 24
    assert (out == -1).sum() == (out_labels == 0).sum() == 8**3 - 24
    np.testing.assert_array_equal(out == 1, out_labels == 2)


def test_image_and_labels_stay_together():
    """A zoomed, mirrored, padded step edge: the label is set exactly where the image is bright."""
    image = np.full((4, 20, 20), -200, np.int16)
    image[:, 5:15, 8:] = 250
    labels = (image > 0).astype(np.uint8)
    rng = np.random.default_rng(1)
    augmentation = Augmentation((0.8, 1.2), True, (0.5, 0.5, 0.5))
    for _ in range(20):
        scale, mirror = augmentation.draw(rng)
        positions = tuple(
            sample_positions(*axis) for axis in zip(image.shape, (2, 10, 10), (8, 24, 16), scale, mirror)
        )
        bright = gather_image(image, positions, WINDOW) > 0
        differ = bright != gather_labels(labels, positions)
        # Only samples exactly between two voxels may round to either.
        assert differ.mean() < 0.02


def test_draws_are_uniform_in_range_and_mirror_with_the_probability():
    rng = np.random.default_rng(0)
    drawn = [Augmentation((0.8, 1.2), False, (0.0, 1.0, 0.5)).draw(rng) for _ in range(2000)]
    scales = np.array([scale for scale, _ in drawn])
    assert (scales[:, 0] == 1).all()
    np.testing.assert_array_equal(scales[:, 1], scales[:, 2])
    assert 0.8 <= scales[:, 1].min() < 0.81
    assert 1.19 < scales[:, 1].max() <= 1.2
    mirrors = np.array([mirror for _, mirror in drawn]).mean(axis=0)
    assert mirrors[0] == 0
    assert mirrors[1] == 1
    assert 0.45 < mirrors[2] < 0.55
    scale, _ = Augmentation((0.8, 0.8), True).draw(rng)
    assert scale == (0.8, 0.8, 0.8)
