import numpy as np
import pytest

from dsdenseunet.data.intensity import normalise, with_channels
from dsdenseunet.tasks.channel import Channel


def window(*ends):
    return np.float32(Channel("CT", "window", ends).scaling())


def test_window_maps_to_minus_one_and_one():
    hu = np.array([-3000, -200, 25, 137.5, 250, 3000])
    out = normalise(hu, window(-200.0, 250.0))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, [-1, -1, 0, 0.5, 1, 1], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_input_is_left_alone_and_shape_kept(dtype):
    hu = np.full((2, 3, 4), 100, dtype)
    assert normalise(hu, window(-200.0, 250.0)).shape == (2, 3, 4)
    assert (hu == 100).all()


def test_never_beyond_the_range():
    for ends in ((-200.0, 250.0), (-57.3, 164.1), (0.1, 0.3)):
        out = normalise(np.arange(-32768, 32768).astype(np.int16), window(*ends))
        assert out.min() == -1
        assert out.max() == 1


def test_each_channel_has_its_own_scaling():
    image = np.array([[[[3.0, 10.0], [5.0, 30.0]]]])
    scaling = np.float32([Channel("T1", "zscore").scaling((4.0, 0.5)), Channel("T2", "none").scaling()])
    np.testing.assert_array_equal(normalise(image, scaling), [[[[-2.0, 10.0], [2.0, 30.0]]]])


def test_an_image_of_one_channel_gets_an_axis_for_it():
    assert with_channels(np.zeros((2, 3, 4))).shape == (2, 3, 4, 1)
    assert with_channels(np.zeros((2, 3, 4, 2))).shape == (2, 3, 4, 2)
