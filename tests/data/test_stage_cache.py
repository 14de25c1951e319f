"""A stage's cases: the box where it looks, its own labels, and nothing made twice."""

import json

import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.cache import Cache
from dsdenseunet.data.preparation import prepare
from dsdenseunet.data.scans.layouts import find_cases
from dsdenseunet.data.stage_cache import derive
from dsdenseunet.tasks.lits import TASK
from dsdenseunet.tasks.part import part_of
from tests.data.cached import write_case

LIVER, TUMOUR = part_of(TASK, ("liver",)), part_of(TASK, ("tumour",))
NAMES = ("volume-0", "volume-1")


@pytest.fixture
def whole(tmp_path):
    """Two cases of 10 x 40 x 48 voxels of 2 x 0.8 x 0.8 mm; one has no tumour, its liver is as large."""
    write_case(tmp_path / "data", 0)
    write_case(tmp_path / "data", 1, classes=(0, 1))
    prepare(find_cases(tmp_path / "data").used, tmp_path / "cache")
    return Cache.open(tmp_path / "cache")


def test_a_box_with_its_margin_and_the_labels_of_the_stage(whole, tmp_path):
    cache = derive(whole, tmp_path / "tumour", NAMES, TUMOUR, TASK, "liver", 1.5)
    case, then = cache.case("volume-0"), whole.case("volume-0")
    inside = np.argwhere(np.asarray(then.labels_DHW) > 0)
    # 1.5 mm are one slice and two voxels of the plane.
    margin = np.array((1, 2, 2))
    low, high = inside.min(axis=0) - margin, inside.max(axis=0) + margin
    box = tuple(slice(first, last + 1) for first, last in zip(low, high, strict=True))
    np.testing.assert_array_equal(case.image_DHW, then.image_DHW[box])
    np.testing.assert_array_equal(case.labels_DHW, then.labels_DHW[box] == 2)
    tumour = int(np.count_nonzero(case.labels_DHW))
    assert case.label_counts == (case.labels_DHW.size - tumour, tumour) and tumour
    np.testing.assert_array_equal(case.slice_counts_DC[:, 1], np.count_nonzero(case.labels_DHW, axis=(1, 2)))
    assert case.spacing_mm == then.spacing_mm
    cache.check_task(TUMOUR)
    cache.verify("volume-0")
    # Without tumour there is a box all the same.
    assert cache.names == NAMES and cache.case("volume-1").label_counts[1] == 0


def test_a_margin_ends_with_the_volume(whole, tmp_path):
    cache = derive(whole, tmp_path / "all", NAMES, TUMOUR, TASK, "liver", 1000.0)
    assert cache.record("volume-0").shape == whole.record("volume-0").shape


def test_whole_images_are_not_copied(whole, tmp_path):
    cache = derive(whole, tmp_path / "liver", NAMES, LIVER, TASK, "", 0.0)
    np.testing.assert_array_equal(cache.case("volume-0").labels_DHW, whole.case("volume-0").labels_DHW > 0)
    one, other = (root / "volume-0" / "image.npy" for root in (cache.root, whole.root))
    assert one.samefile(other)
    cache.verify("volume-0")


def test_it_is_made_once_and_again_for_anything_else(whole, tmp_path):
    root = tmp_path / "stage" / "tumour"
    made = derive(whole, root, NAMES, TUMOUR, TASK, "liver", 2.0)
    stamp = (root / "manifest.json").stat().st_mtime_ns
    (root.parent / ".partial-of-a-run-that-was-killed").mkdir()
    assert derive(whole, root, NAMES, TUMOUR, TASK, "liver", 2.0).fingerprint == made.fingerprint
    assert (root / "manifest.json").stat().st_mtime_ns == stamp
    wider = derive(whole, root, NAMES, TUMOUR, TASK, "liver", 4.0)
    assert wider.fingerprint != made.fingerprint
    assert [path.name for path in root.parent.iterdir()] == ["tumour"]
    assert json.loads((root / "origin.json").read_text())["margin_mm"] == 4.0


def test_cases_without_the_region_are_left_out(whole, tmp_path):
    assert derive(whole, tmp_path / "a", NAMES, TUMOUR, TASK, "tumour", 0.0).names == ("volume-0",)
    with pytest.raises(InputError, match="tumour in none of 1 cases"):
        derive(whole, tmp_path / "b", NAMES[1:], TUMOUR, TASK, "tumour", 0.0)
    assert not (tmp_path / "b").exists()
