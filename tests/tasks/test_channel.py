import numpy as np
import pytest

from dsdenseunet.data.intensity import normalise
from dsdenseunet.tasks.channel import Channel, scaling_of, statistics_of

VALUES = np.array([0, 0, 2, 4, 6, 12], np.float32).reshape(1, 2, 3)


def normalised(channel, values=VALUES):
    return normalise(values, np.float32(channel.scaling(channel.statistics(values))))


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        # Mean 4, variance 104 / 6.
        (Channel("MR", "zscore"), (VALUES - 4) / np.sqrt(104 / 6)),
        # Of 2, 4, 6, 12: mean 6, variance 14.
        (Channel("MR", "zscore_foreground"), (VALUES - 6) / np.sqrt(14)),
        # Halfway between the two in the middle is 3; the largest is 12.
        (Channel("MR", "percentiles", (50.0, 100.0)), np.maximum((VALUES - 7.5) / 4.5, -1)),
        (Channel("CT", "window", (2.0, 6.0)), np.clip((VALUES - 4) / 2, -1, 1)),
        (Channel("PET", "none"), VALUES),
    ],
    ids=str,
)
def test_by_hand(channel, expected):
    np.testing.assert_allclose(normalised(channel), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("channel", "outside"),
    [
        (Channel("MR", "zscore"), 0.0),
        (Channel("MR", "zscore_foreground"), -6 / np.sqrt(14)),
        (Channel("MR", "percentiles", (50.0, 100.0)), -1.0),
        (Channel("CT", "window", (2.0, 6.0)), -1.0),
        (Channel("PET", "none"), 0.0),
    ],
    ids=str,
)
def test_outside_the_volume_is_the_mean_nothing_or_the_lower_end(channel, outside):
    assert channel.scaling(channel.statistics(VALUES))[4] == pytest.approx(outside)


@pytest.mark.parametrize("kind", ["zscore", "zscore_foreground", "percentiles"])
@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_case_of_one_value_is_no_number_by_zero(kind, value):
    channel = Channel("MR", kind, (1.0, 99.0) * (kind == "percentiles"))
    constant = np.full((2, 3, 4), value, np.float32)
    assert np.isfinite(channel.scaling(channel.statistics(constant))).all()
    assert not normalised(channel, constant).any()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_a_zscore_does_not_depend_on_the_scale(scale):
    channel = Channel("MR", "zscore")
    np.testing.assert_allclose(normalised(channel, VALUES * scale), normalised(channel), rtol=1e-5, atol=1e-6)


def test_each_channel_has_its_own_statistics():
    image = np.stack([VALUES, 10 * VALUES + 1], axis=-1)
    channels = (Channel("T1", "zscore"), Channel("T2", "zscore"))
    statistics = statistics_of(channels, image)
    assert statistics[1] == pytest.approx((41, 10 * np.sqrt(104 / 6)))
    scaled = normalise(image, scaling_of(channels, statistics))
    np.testing.assert_allclose(scaled[..., 0], scaled[..., 1], atol=1e-6)
    assert scaling_of(channels, statistics).dtype == np.float32
