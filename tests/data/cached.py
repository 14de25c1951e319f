"""Small data sets for the tests of caching and streaming."""

import os

import numpy as np

from dsdenseunet.data.cache import Cache
from dsdenseunet.data.preparation import _prepare_case, prepare
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.layouts import find_cases


def write_case(root, number, shape=(10, 40, 48), classes=(0, 1, 2), seed=None, ending=".nii"):
    """A noisy volume with a block of liver and a block of tumour, in LiTS layout."""
    rng = np.random.default_rng(number if seed is None else seed)
    labels = np.zeros(shape, np.uint8)
    d, h, w = (side // 4 for side in shape)
    if 1 in classes:
        labels[d : 3 * d, h : 3 * h, w : 3 * w] = 1
    if 2 in classes:
        labels[d : 2 * d, h : h + 4, w : w + 4] = 2
    image = (rng.normal(0, 20, shape) + 60 * labels).astype(np.int16)
    nifti.write_new(root / f"volume-{number}{ending}", image, (2.0, 0.8, 0.8), "LPS")
    nifti.write_new(root / f"segmentation-{number}{ending}", labels, (2.0, 0.8, 0.8), "LPS")
    return image, labels


def make_cache(root, cases=3, **kwargs):
    """A prepared cache of `cases` volumes."""
    for number in range(cases):
        write_case(root / "data", number, **kwargs)
    rows = prepare(find_cases(root / "data").used, root / "cache")
    assert [row.status for row in rows] == ["new"] * cases
    return Cache.open(root / "cache")


def die_on_the_second(case, *job):
    """What a worker looks like from outside when the system kills it over one case."""
    if case.name == "volume-1":
        os._exit(9)
    return _prepare_case(case, *job)
