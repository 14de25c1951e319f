import pytest

from configs.ds_dense_unet_569 import get_config
from dsdenseunet.profiling.cards import card
from experiments.benchmarks.gpu.roofline import counts, floor, measured_rates
from tests.documents import ROOT


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


def test_the_published_floor_is_what_the_counts_and_the_data_sheet_give():
    h200 = card("h200")
    text = (ROOT / "docs/explanation/speed.md").read_text(encoding="utf-8")
    floors = {}
    for kind in ("step", "inference"):
        for name in ("ds", "standard"):
            config = get_config(name).to_dict()
            config["model"]["dtype"] = "bfloat16"
            found = floor(counts(config, kind), h200.flops_per_s("bfloat16"), h200.bandwidth_bytes_per_s)
            cells = [f"{found['operations'] / 1e12:.3f}", f"{found['bytes'] / 1e9:.2f}"]
            cells += [f"{1e3 * found[column]:.2f}" for column in ("operations_s", "bytes_s", "floor_s")]
            label = "DS" if name == "ds" else name
            assert f"| {kind}, {label} | {' | '.join(cells)} |" in text
            floors[kind, name] = found["floor_s"]
    assert f"at least {11_000 * floors['step', 'ds']:.1f} s" in text
    assert f"1,056 patches {1056 * floors['inference', 'ds']:.2f} s" in text
    assert f"only {floors['step', 'standard'] / floors['step', 'ds']:.2f} times" in text
