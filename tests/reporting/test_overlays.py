import numpy as np
import pytest

from dsdenseunet.reporting.overlays import overlay_figure
from dsdenseunet.reporting.slices import choose_slices
from dsdenseunet.reporting.style import save


def labels(areas, value=2):
    """A volume whose slice i has areas[i] voxels of `value`."""
    volume = np.zeros((len(areas), 1, 16), np.uint8)
    for index, area in enumerate(areas):
        volume[index, 0, :area] = value
    return volume


def test_slices_with_most_tumour_that_are_apart():
    assert choose_slices(labels([0, 0, 9, 8, 7, 0, 0, 3, 0, 5, 0, 1]), 3) == [2, 4, 9]


def test_liver_decides_where_there_is_no_tumour():
    assert choose_slices(labels([1, 2, 3, 9, 3, 2], value=1), 1) == [3]


@pytest.mark.parametrize(("depth", "count", "expected"), [(2, 4, 2), (1, 3, 1), (30, 4, 4)])
def test_as_many_as_asked_or_as_there_are(depth, count, expected):
    chosen = choose_slices(labels([3] * depth), count)
    assert len(chosen) == len(set(chosen)) == expected
    assert chosen == sorted(chosen)


def pixels(figure, path):
    from matplotlib.image import imread

    save(figure, path)
    return imread(path)[..., :3]


def test_liver_is_green_and_tumour_red_where_the_labels_say(tmp_path):
    """Dark CT; truth: liver in the patient's right half; prediction: tumour in the left half."""
    image = np.full((1, 64, 64), -1000, np.int16)
    truth, prediction = np.zeros((2, 1, 64, 64), np.uint8)
    truth[:, :, 32:] = 1
    prediction[:, :, :32] = 2
    figure = overlay_figure(image, truth, prediction, (5.0, 1.0, 1.0), [0])
    picture = pixels(figure, tmp_path / "overlay.png")
    for axis, channel, bright_share in ((2, 1, 0.25), (3, 0, 0.75)):
        box = figure.axes[axis].get_position()
        height, width = picture.shape[:2]
        row = int((1 - (box.y0 + 0.3 * box.height)) * height)
        columns = [int((box.x0 + share * box.width) * width) for share in (bright_share, 1 - bright_share)]
        bright, dark = picture[row, columns]
        # The patient's right side is on the left of the picture.
        assert bright[channel] > 0.2
        assert bright[channel] == bright.max()
        assert dark.max() < 0.05


def test_pixels_keep_the_scans_proportions():
    """Rows of 2 mm and columns of 1 mm: the picture of 32 x 64 voxels is square."""
    volume = np.zeros((1, 32, 64), np.uint8)
    figure = overlay_figure(volume.astype(np.int16), volume, volume, (5.0, 2.0, 1.0), [0])
    figure.draw_without_rendering()
    box = figure.axes[0].get_window_extent()
    assert box.width == pytest.approx(box.height, rel=0.02)
