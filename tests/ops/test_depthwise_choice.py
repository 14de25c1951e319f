"""The choice follows the table, and falls back where it has no row."""

import jax
import pytest

from configs.ds_dense_unet_569 import get_config
from dsdenseunet.ops import depthwise_choice
from dsdenseunet.ops.depthwise_choice import DEFAULT, Device, Kind, fastest, lowering_for, parse_capability
from experiments.benchmarks.measuring.shapes import depthwise_cases

HOPPER = Device("gpu", (9, 0))


@pytest.fixture
def table(monkeypatch):
    rows = {Kind("gpu", 9, "bfloat16", (1, 1, 1)): ((0, "grouped"), (1000, "pallas"))}
    monkeypatch.setattr(depthwise_choice, "FASTEST", rows)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1, 1, 1, 1, 999), "grouped"), ((1, 1, 1, 1, 1000), "pallas"), ((2, 5, 5, 5, 4), "pallas")],
)
def test_size_decides(table, shape, expected):
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
def test_what_was_not_measured_or_cannot_be_takes_the_default(table, dtype, stride, device):
    assert fastest((1, 3, 56, 56, 128), dtype, stride, device) == DEFAULT == "shifted"


def test_a_newer_minor_capability_is_of_the_same_kind(table):
    assert fastest((1, 3, 56, 56, 128), "bfloat16", (1, 1, 1), Device("gpu", (9, 5))) == "pallas"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cpus_take_shifted_at_every_shape_of_the_network(dtype):
    for shape, _, stride in depthwise_cases(get_config("ds").to_dict()):
        assert fastest((1, *shape), dtype, stride, Device("cpu")) == "shifted"


def test_a_program_for_another_machine_chooses_for_it():
    here = Device.present()
    assert here.platform == jax.default_backend()
    with lowering_for(HOPPER):
        assert Device.present() == HOPPER
    assert Device.present() == here


def test_capabilities_are_read():
    assert parse_capability("8.6") == (8, 6)
    assert parse_capability(None) is parse_capability("gfx90a") is None
