"""The choice follows the records, and falls back where there are none."""

import pytest

from configs.ds_dense_unet_569 import get_config
from dsdenseunet.ops import depthwise_choice
from dsdenseunet.ops.depthwise_choice import DEFAULT, Device, fastest
from dsdenseunet.profiling.benchmark.shapes import depthwise_cases

SMALL = {"shape": [1, 3, 7, 7, 128], "stride": [1, 1, 1], "milliseconds": {"shifted": 2, "pallas": 3}}
LARGE = {"shape": [1, 3, 56, 56, 128], "stride": [1, 1, 1], "milliseconds": {"shifted": 9, "pallas": 1}}
HOPPER = Device("gpu", (9, 0))


@pytest.fixture
def records(monkeypatch):
    record = {"platform": "gpu", "capability": [9, 0], "dtype": "bfloat16", "cases": [SMALL, LARGE]}
    monkeypatch.setattr(depthwise_choice, "measurements", lambda: [record])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 3, 7, 7, 128), "shifted"),
        ((1, 3, 56, 56, 128), "pallas"),
        ((1, 3, 10, 10, 96), "shifted"),
        ((4, 3, 28, 28, 128), "pallas"),
    ],
)
def test_nearest_case_decides(records, shape, expected):
    assert fastest(shape, "bfloat16", (1, 1, 1), HOPPER) == expected


@pytest.mark.parametrize(
    ("dtype", "stride", "device"),
    [
        ("float32", (1, 1, 1), HOPPER),
        ("bfloat16", (1, 2, 2), HOPPER),
        ("bfloat16", (1, 1, 1), Device("gpu", (8, 6))),
        ("bfloat16", (1, 1, 1), Device("cpu")),
        ("bfloat16", (1, 1, 1), Device("gpu", (9, 0), devices=2)),
    ],
)
def test_what_was_not_measured_or_cannot_be_takes_the_default(records, dtype, stride, device):
    assert fastest((1, 3, 56, 56, 128), dtype, stride, device) == DEFAULT == "shifted"


def test_a_newer_minor_capability_is_of_the_same_kind(records):
    assert fastest((1, 3, 56, 56, 128), "bfloat16", (1, 1, 1), Device("gpu", (9, 5))) == "pallas"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cpus_take_shifted_at_every_shape_of_the_network(dtype):
    for shape, _, stride in depthwise_cases(get_config("ds").to_dict()):
        assert fastest((1, *shape), dtype, stride, Device("cpu")) == "shifted"


def test_every_recorded_number_says_where_it_comes_from():
    for record in depthwise_choice.measurements():
        assert record["commit"] and record["hardware"] and record["versions"]["jax"] and record["source"]
