"""The device makes the host's patch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsdenseunet.data import intensity
from dsdenseunet.data.augment import Augmentation, cut_box, gather_image, gather_labels, sample_positions
from dsdenseunet.ops import resample
from dsdenseunet.ops.intensity import normalise
from dsdenseunet.tasks.channel import Channel, scaling_of, statistics_of

# Of an array without a channel axis: one channel.
WINDOW = Channel("CT", "window", (-200.0, 250.0)).scaling()
PATCH = (5, 16, 24)
# In units of the input range's half: some last bits, from products and sums that the compiler fuses.
TOLERANCE = 1e-6


@functools.partial(jax.jit, static_argnames="patch_size")
def on_device(box, patch_size):
    image = resample.sample_image(
        box["image"], box["below"], box["weight"], box["nearest"], patch_size, jnp.asarray(WINDOW)
    )
    return image, resample.sample_labels(box["labels"], box["nearest"], patch_size)


def both(volume_shape, centre, scale, mirror, box_size, patch_size=PATCH):
    """Image and labels of the device, then those of the host."""
    rng = np.random.default_rng(0)
    image = rng.integers(-1024, 1500, volume_shape).astype(np.int16)
    labels = rng.integers(0, 3, volume_shape).astype(np.uint8)
    positions = tuple(
        sample_positions(*axis) for axis in zip(volume_shape, centre, patch_size, scale, mirror)
    )
    device = on_device(cut_box(image, labels, positions, box_size), patch_size)
    return device, (gather_image(image, positions, np.float32(WINDOW)), gather_labels(labels, positions))


@settings(deadline=None)
@given(
    sides=st.tuples(*[st.integers(1, 60)] * 3),
    zoom=st.one_of(st.floats(0.5, 2), st.sampled_from([0.5, 0.8, 1.0, 1.25, 2.0])),
    scale_depth=st.booleans(),
    mirror=st.tuples(*[st.booleans()] * 3),
    data=st.data(),
)
def test_device_and_host_give_the_same_patch(sides, zoom, scale_depth, mirror, data):
    centre = [data.draw(st.integers(0, side - 1)) for side in sides]
    box_size = Augmentation((0.5, 2.0), scale_depth).box_size(PATCH)
    scale = (zoom if scale_depth else 1.0, zoom, zoom)
    (image, labels), (host_image, host_labels) = both(sides, centre, scale, mirror, box_size)
    assert image.dtype == host_image.dtype == np.float32
    assert labels.dtype == host_labels.dtype == np.int32
    np.testing.assert_allclose(image, host_image, rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(labels, host_labels)


def test_without_zoom_they_are_equal_to_the_bit():
    box_size = Augmentation().box_size(PATCH)
    assert box_size == PATCH
    one = (1.0, 1.0, 1.0)
    (image, labels), host = both((9, 12, 40), (4, 1, 20), one, (True, False, True), box_size)
    np.testing.assert_array_equal(image, host[0])
    np.testing.assert_array_equal(labels, host[1])


@pytest.mark.parametrize("low", [0.5, 0.8, 0.9, 1.0, 1.1])
@pytest.mark.parametrize("patch_side", [1, 2, 12, 81, 224])
def test_the_box_holds_every_patch(low, patch_side):
    """As long as `cut_box` does not fail: it refuses what does not fit."""
    box_size = Augmentation((low, 1.2), True).box_size((1, 1, patch_side))
    volume = np.zeros((1, 1, 600), np.int16)
    single = np.zeros(1)
    for centre in np.random.default_rng(0).integers(0, 600, 200):
        positions = (single, single, sample_positions(600, int(centre), patch_side, low, False))
        cut_box(volume, volume.astype(np.uint8), positions, box_size)
    # And not much more than that: two voxels at the ends, one for rounding.
    assert box_size[2] <= (patch_side - 1) / low + 3


def test_a_box_that_is_too_small_is_refused():
    volume = np.zeros((1, 1, 9), np.int16)
    positions = (np.zeros(1), np.zeros(1), np.arange(6.0))
    with pytest.raises(ValueError, match="broadcast"):
        cut_box(volume, volume.astype(np.uint8), positions, (1, 1, 5))


@pytest.mark.parametrize(
    ("channel", "statistics"),
    [
        (Channel("CT", "window", (-200.0, 250.0)), ()),
        (Channel("CT", "window", (-1000.0, 37.5)), ()),
        (Channel("MR", "zscore"), (212.7, 431.3)),
        (Channel("MR", "zscore_foreground"), (212.7, 431.3)),
        (Channel("MR", "percentiles", (1.0, 99.0)), (-3.5, 1203.2)),
        (Channel("PET", "none"), ()),
    ],
    ids=str,
)
def test_intensities_are_the_hosts(channel, statistics):
    volume = np.arange(-1100, 1500, dtype=np.int16)
    scaling = np.float32(channel.scaling(statistics))
    np.testing.assert_allclose(
        normalise(volume, jnp.asarray(scaling)), intensity.normalise(volume, scaling), rtol=0, atol=TOLERANCE
    )


def test_a_patch_of_two_channels_is_the_hosts():
    """Each channel has its own scaling, and its own value outside the volume."""
    image = np.random.default_rng(1).normal(200, 80, (6, 7, 8, 2)).astype(np.float32)
    channels = (Channel("T1", "zscore"), Channel("T2", "percentiles", (5.0, 95.0)))
    scaling = scaling_of(channels, statistics_of(channels, image))
    scales = (1.0, 1.2, 1.2)
    positions = tuple(
        sample_positions(*axis) for axis in zip(image.shape, (1, 2, 3), PATCH, scales, (False, True, True))
    )
    box = cut_box(image, image[..., 0].astype(np.uint8), positions, Augmentation((1.2, 1.2)).box_size(PATCH))
    patch = resample.sample_image(
        box["image"], box["below"], box["weight"], box["nearest"], PATCH, jnp.asarray(scaling)
    )
    expected = gather_image(image, positions, scaling)
    assert patch.shape == (*PATCH, 2)
    np.testing.assert_allclose(patch, expected, rtol=0, atol=1e-5)
    assert (expected[..., 0] == 0).sum() == (expected[..., 1] == -1).sum() > PATCH[0]
