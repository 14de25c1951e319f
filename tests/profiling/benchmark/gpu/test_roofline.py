import pytest

from configs.ds_dense_unet_569 import get_config
from dsdenseunet.profiling.benchmark.gpu.roofline import counts, floor, measured_rates


def test_floor_is_the_larger_of_both_times():
    counted = {"operations": 200, "bytes": 60}
    assert floor(counted, 100.0, 20.0)["floor_s"] == 3.0
    assert floor(counted, 50.0, 20.0)["floor_s"] == 4.0


def test_a_step_has_three_times_the_products_of_a_forward_pass():
    config = get_config("ds").to_dict()
    step, inference = counts(config, "step"), counts(config, "inference")
    assert step["operations"] == 3 * inference["operations"] == 6 * 176_365_800_156
    assert step["bytes"] > 2 * inference["bytes"]
    config["data"]["batch_size"] = 2
    assert counts(config, "step")["operations"] == 2 * step["operations"]


@pytest.mark.parametrize("part", ["device", "other"])
def test_rates_come_from_the_part_that_measured_them(part):
    results = [
        {"part": part, "operations_per_s": {"median": 5.0}},
        {"part": part, "bytes_per_s": {"median": 7.0}},
    ]
    assert measured_rates(results) == ((5.0, 7.0) if part == "device" else None)
    assert measured_rates(results[:1]) is None
