import dataclasses

import numpy as np
import pytest
from matplotlib.image import imread

from dsdenseunet.reporting import first_batch
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.channel import Channel

GREEN = (0x2F, 0xB3, 0x44)


def picture(tmp_path, image_BDHWC, labels_BDHW, task=lits.TASK):
    names = [f"volume-{number}" for number in range(len(labels_BDHW))]
    first_batch.write(tmp_path / first_batch.FILE, image_BDHWC, labels_BDHW, names, task)
    return np.uint8(255 * imread(tmp_path / first_batch.FILE)[..., :3] + 0.5)


def panel(shown, patch, column, size):
    """The pixels of one panel of square slices, as the module's lengths say."""
    side = round(320 / size) * size
    top = 10 + patch * (2 * 20 + side + 10) + 20
    left = 10 + column * (side + 10)
    return shown[top : top + side, left : left + side]


def test_greys_and_outlines_are_where_the_batch_says(tmp_path):
    """Dark on the left of the array and liver at its top: on the right and at the bottom of the picture."""
    image = np.ones((1, 2, 16, 16, 1), np.float32)
    image[..., :4, :] = -1
    labels = np.zeros((1, 2, 16, 16), np.int32)
    labels[:, 1, :8] = 1
    shown = picture(tmp_path, image, labels)
    grey, outlined = (panel(shown, 0, column, 16) for column in (0, 1))
    assert (grey[:, :240] == 255).all()
    assert (grey[:, 240:] == 0).all()
    green = (outlined == GREEN).all(axis=-1)
    assert green[160:162].all()
    assert green[-1].all()
    assert not green[:160].any()
    assert not green[170:310, 10:310].any()


def test_a_row_for_each_patch_and_a_column_for_each_channel(tmp_path):
    """Values without bounds: each channel has the greys of its own range."""
    task = dataclasses.replace(lits.TASK, channels=(Channel("T1", "zscore"), Channel("T2", "zscore")))
    ramp = np.linspace(0, 1, 8 * 8, dtype=np.float32).reshape(1, 8, 8)
    image = np.stack([3 * ramp, 50 - ramp], axis=-1)
    shown = picture(tmp_path, np.stack([image] * 6), np.zeros((6, 1, 8, 8), np.int32), task)
    first, second, labels = (panel(shown, 3, column, 8) for column in range(3))
    assert (first.min(), first.max()) == (second.min(), second.max()) == (0, 255)
    assert np.abs(255 - first.astype(int) - second).max() <= 1
    np.testing.assert_array_equal(labels, first)
    # Four patches of the six, then the colours' names.
    assert len(shown) == 4 * (2 * 20 + 320 + 10) + 20 + 2 * 10


@pytest.mark.parametrize("ignored", [-1, 255])
def test_labels_of_no_region_have_no_outline(tmp_path, ignored):
    labels = np.full((1, 1, 16, 16), ignored, np.int32)
    labels[..., :8] = 2
    shown = panel(picture(tmp_path, np.zeros((1, 1, 16, 16, 1), np.float32), labels), 0, 1, 16)
    coloured = (shown != shown[..., :1]).any(axis=-1)
    assert coloured[:, 160:].any()
    assert not coloured[:, :160].any()
