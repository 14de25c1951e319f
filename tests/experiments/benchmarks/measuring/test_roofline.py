import pytest

from configs.ds_dense_unet_569 import get_config
from dsdenseunet.memory.cards import card
from experiments.benchmarks.measuring.roofline import beside, counts, depthwise_counts, floor, measured_rates
from experiments.benchmarks.measuring.shapes import DepthwiseCase
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


@pytest.mark.parametrize(("transposed", "written"), [(False, 2 * 2 * 1 * 5), (True, 7 * 5 * 3 * 5)])
def test_a_depthwise_convolution_by_hand(transposed, written):
    case = DepthwiseCase((4, 3, 2, 5), (2, 2, 2), 3, transposed)
    read, kernel = 4 * 3 * 2 * 5, 27 * 5
    values, all_three = (depthwise_counts(case, backward) for backward in (False, True))
    assert values["operations"] == 2 * 27 * min(read, written)
    assert values["bytes"] == 4 * (read + written + kernel)
    assert all_three["operations"] == 3 * values["operations"]
    # The input is read twice and its gradient written, the output written and its gradient read.
    assert all_three["bytes"] == 4 * (3 * read + 2 * written + 3 * kernel)


def test_rates_come_from_the_part_that_measured_them():
    results = [
        {"part": "rates", "case": "a", "rate_of": "bfloat16", "per_s": {"median": 5.0}},
        {"part": "rates", "case": "b", "rate_of": "bytes", "per_s": {"median": 7.0}},
        {"part": "other", "case": "c", "rate_of": "float32", "per_s": {"median": 9.0}},
    ]
    assert measured_rates(results) == {"bfloat16": 5.0, "bytes": 7.0}


def test_a_result_without_its_rates_has_no_floor():
    found = {"case": "a", "took_s": 3.0, "counted": {"dtype": "float32", "operations": 8, "bytes": 3}}
    assert beside(found, {"bfloat16": 1.0, "bytes": 1.0}) == found
    assert beside({"case": "a"}, {"float32": 1.0, "bytes": 1.0}) == {"case": "a"}
    with_floor = beside({**found, "times": 2}, {"float32": 8.0, "bytes": 2.0})["roofline"]
    assert (with_floor["floor_s"], with_floor["times_the_floor"]) == (3.0, 1.0)


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
