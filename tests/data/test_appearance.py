import numpy as np
import pytest
from scipy import ndimage

from configs.base import base_config
from dsdenseunet.data.appearance import NAMES, Appearance, blurred, coarse, powered
from dsdenseunet.data.pipeline import extra

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(5, 8, 7, 2)).astype(np.float32)


def appearance(probability=1.0, **ranges):
    """The base config's ranges where none are given; what is not named never happens."""
    augment = base_config().augment.to_dict()
    for name, given in ranges.items():
        augment[name] = {"probability": probability, "range": given or augment[name]["range"]}
    return Appearance.of(augment)


@pytest.mark.parametrize("sigma", [0.6, 1.3])
def test_blur_is_scipys(sigma):
    got = blurred(np, IMAGE, np.float32(sigma), radius=4)
    expected = ndimage.gaussian_filter(IMAGE, (sigma, sigma, sigma, 0), mode="nearest", radius=(4, 4, 4, 0))
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_low_resolution_by_hand():
    # Half of 8 samples: of each two voxels the one nearest to their middle (even on a tie), in places -0.25,
    # 0.25, 0.75, ... of the coarse row, which ends with its last sample.
    row = np.arange(8, dtype=np.float32) ** 2
    got = coarse(np, row[None, None, :, None], np.float32(0.5))[0, 0, :, 0]
    kept = row[np.round(2 * (np.arange(4) + 0.5) - 0.5).astype(int)]
    expected = np.interp((np.arange(8) + 0.5) / 2 - 0.5, np.arange(4), kept)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("factor", [0.3, 0.55, 0.99])
def test_low_resolution_keeps_what_is_even_and_the_ends(factor):
    np.testing.assert_allclose(coarse(np, np.full_like(IMAGE, 3), np.float32(factor)), 3, rtol=1e-6)
    assert coarse(np, IMAGE, np.float32(factor)).shape == IMAGE.shape
    assert (
        np.abs(np.diff(coarse(np, IMAGE, np.float32(factor)), axis=1)).mean()
        < np.abs(np.diff(IMAGE, axis=1)).mean()
    )


def test_gamma_by_hand():
    row = np.array([-1.0, 0.0, 1.0], np.float32)[None, None, :, None]
    np.testing.assert_allclose(powered(np, row, np.float32(2))[0, 0, :, 0], [-1.0, -0.5, 1.0], rtol=1e-6)
    even = np.ones_like(row)
    np.testing.assert_allclose(powered(np, even, np.float32(2)), even)


def test_brightness_and_contrast_by_hand():
    changes = appearance(brightness=(0.5, 0.5), contrast=(2.0, 2.0))
    image = np.array([0.0, 2.0], np.float32)[None, None, :, None]
    drawn = changes.draw(np.random.default_rng(0), image.shape)
    # 0.5 and 2.5, whose mean is 1.5.
    np.testing.assert_allclose(changes.apply(np, image, drawn)[0, 0, :, 0], [-0.5, 3.5])


def test_noise_has_its_deviation_and_is_drawn_anew():
    changes, rng = appearance(noise=(0.2, 0.2)), np.random.default_rng(0)
    first, second = (changes.draw(rng, (16, 16, 16, 1))["noise"] for _ in range(2))
    assert first.dtype == np.float32
    assert first.std() == pytest.approx(0.2, rel=0.05)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1


def test_what_does_not_happen_to_a_patch_leaves_every_bit():
    changes = appearance(1e-9, **dict.fromkeys(NAMES))
    drawn = changes.draw(np.random.default_rng(0), IMAGE.shape)
    np.testing.assert_array_equal(changes.apply(np, IMAGE, drawn), IMAGE)


def test_each_happens_to_its_share_of_patches():
    changes, rng = appearance(0.3, blur=None), np.random.default_rng(0)
    sizes = np.array([changes.draw(rng, IMAGE.shape)["blur"] for _ in range(2000)])
    assert np.mean(sizes > 0) == pytest.approx(0.3, abs=0.04)
    assert sizes[sizes > 0].min() >= 0.5
    assert sizes.max() <= 1.0


def test_none_of_it_draws_nothing():
    assert extra(base_config().augment) == (None, None)
    rng = np.random.default_rng(0)
    assert appearance(0.0, **dict.fromkeys(NAMES)).draw(rng, IMAGE.shape) == {}
    assert rng.random() == np.random.default_rng(0).random()
