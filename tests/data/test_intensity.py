import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.intensity import normalise


def test_window_maps_to_minus_one_and_one():
    hu = np.array([-3000, -200, 25, 137.5, 250, 3000])
    out = normalise(hu, (-200.0, 250.0))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, [-1, -1, 0, 0.5, 1, 1], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_input_is_left_alone_and_shape_kept(dtype):
    hu = np.full((2, 3, 4), 100, dtype)
    assert normalise(hu, (-200, 250)).shape == (2, 3, 4)
    assert (hu == 100).all()


def test_never_beyond_the_range():
    for window in ((-200.0, 250.0), (-57.3, 164.1), (0.1, 0.3)):
        out = normalise(np.arange(-32768, 32768).astype(np.int16), window)
        assert out.min() == -1
        assert out.max() == 1


@pytest.mark.parametrize("window", [(250, -200), (0, 0)])
def test_an_empty_window_is_refused(window):
    with pytest.raises(InputError, match="lower < upper"):
        normalise(np.zeros(3), window)
