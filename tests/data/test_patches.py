import collections

import numpy as np
import pytest

from dsdenseunet.data.augment import Augmentation
from dsdenseunet.data.cache import CachedCase
from dsdenseunet.data.patches import PatchSampler, choose_centre
from dsdenseunet.tasks.lits import TASK
from tests.data.cached import make_cache


def case_of(labels_DHW):
    counts = np.stack([np.bincount(plane.ravel(), minlength=3) for plane in labels_DHW])
    totals = tuple(int(n) for n in counts.sum(axis=0))
    return CachedCase("c", labels_DHW.astype(np.int16), labels_DHW, counts, (1.0, 1.0, 1.0), totals)


def test_every_voxel_of_a_class_is_as_likely():
    labels = np.zeros((4, 3, 5), np.uint8)
    voxels = [(0, 1, 2), (2, 0, 0), (2, 2, 4), (3, 1, 1)]
    for voxel in voxels:
        labels[voxel] = 2
    rng = np.random.default_rng(0)
    drawn = collections.Counter(choose_centre(case_of(labels), (0, 0, 1), rng) for _ in range(4000))
    assert set(drawn) == set(voxels)
    assert all(900 < count < 1100 for count in drawn.values())


def test_shares_are_kept():
    labels = np.zeros((2, 10, 10), np.uint8)
    labels[0, 0, 0], labels[1, 9, 9] = 1, 2
    rng = np.random.default_rng(0)
    drawn = collections.Counter(
        int(labels[choose_centre(case_of(labels), (0.5, 0.3, 0.2), rng)]) for _ in range(5000)
    )
    assert 0.47 < drawn[0] / 5000 < 0.53
    assert 0.27 < drawn[1] / 5000 < 0.33
    assert 0.17 < drawn[2] / 5000 < 0.23


@pytest.mark.parametrize(("present", "expected"), [((0, 1), 1), ((0,), 0)])
def test_the_class_before_an_absent_one_takes_its_place(present, expected):
    labels = np.zeros((2, 3, 4), np.uint8)
    labels[0, 0, : len(present)] = present
    rng = np.random.default_rng(0)
    drawn = [choose_centre(case_of(labels), (0.0, 0.0, 1.0), rng) for _ in range(200)]
    if expected:
        assert {int(labels[centre]) for centre in drawn} == {expected}
    else:
        assert len(set(drawn)) == 24  # Any voxel.


def sampler(cache, **kwargs):
    arguments = {
        "names": cache.names,
        "patch_size": (4, 32, 32),
        "channels": TASK.channels,
        "centre_share": (0.34, 0.33, 0.33),
        "augmentation": Augmentation((0.8, 1.2), False, (0.5, 0.5, 0.5)),
    }
    return PatchSampler(cache, **(arguments | kwargs))


def test_a_patch_depends_on_the_generator_alone(tmp_path):
    cache = make_cache(tmp_path)
    first, again = (sampler(cache).sample(1, np.random.default_rng(7)) for _ in range(2))
    for key, value in first.items():
        np.testing.assert_array_equal(value, again[key])
    assert first["image"].shape == (4, 32, 32, 1)
    assert first["image"].dtype == np.float32
    assert first["labels"].shape == (4, 32, 32)
    assert first["labels"].dtype == np.int32
    assert first["case"] == 1
    other = sampler(cache).sample(1, np.random.default_rng(8))
    assert not np.array_equal(first["image"], other["image"])


def test_tumour_centred_patches_show_tumour(tmp_path):
    cache = make_cache(tmp_path, cases=1)
    draw = sampler(cache, centre_share=(0.0, 0.0, 1.0))
    for seed in range(20):
        assert (draw.sample(0, np.random.default_rng(seed))["labels"] == 2).any()


def test_a_patch_larger_than_the_volume(tmp_path):
    cache = make_cache(tmp_path, cases=1, shape=(3, 10, 12))
    patch = sampler(cache, augmentation=Augmentation()).sample(0, np.random.default_rng(0))
    outside = patch["image"][..., 0] == -1
    assert outside.sum() == 4 * 32 * 32 - 3 * 10 * 12
    assert not patch["labels"][outside].any()


def test_an_error_names_the_case(tmp_path):
    cache = make_cache(tmp_path)
    (cache.root / "volume-2" / "labels.npy").write_bytes(b"gone")
    with pytest.raises(RuntimeError, match=r"case volume-2: InputError: .*labels\.npy"):
        sampler(cache).sample(2, np.random.default_rng(0))
