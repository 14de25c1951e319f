import json

import pytest

from dsdenseunet.errors import InputError
from dsdenseunet.ops import depthwise_choice
from dsdenseunet.profiling.benchmark.depthwise_record import measurements, merge
from tests.documents import ROOT

HARDWARE = {
    "backend": "gpu",
    "compute_capability": [9, 0],
    "device_kind": "H",
    "processor": "P",
    "cpu_cores": 2,
}
PROVENANCE = {"hardware": HARDWARE, "commit": "c", "versions": {"jax": "1", "jaxlib": "1"}}


def seconds(**medians):
    return {name: {"wall_s": {"median": value}} for name, value in medians.items()}


def test_cases_and_forms_are_read_and_others_left():
    results = [
        {"part": "depthwise", "case": "3 x 8 x 8, 16, fwd", "seconds": seconds(ours=9.0)},
        {"part": "depthwise", "case": "3 x 8 x 8, 16 by 2, fwd+bwd", "seconds": seconds(ours=1.0, ncdhw=0.1)},
        {
            "part": "depthwise",
            "case": "3 x 8 x 8, 16 by 2, fwd+bwd",
            "seconds": seconds(ours=2.0, grouped=4.0),
        },
        {
            **{"part": "depthwise", "case": "3 x 8 x 8, 16, fwd+bwd", "dtype": "bfloat16"},
            "seconds": seconds(pallas=0.001, shifted=0.002, eager=0.1),
        },
        {"part": "step", "case": "3 x 8 x 8, 16, fwd+bwd", "seconds": seconds(ours=1.0)},
        {"part": "device"},
    ]
    single, half = measurements({"results": results, "provenance": PROVENANCE}, "here")
    assert (single["dtype"], half["dtype"]) == ("float32", "bfloat16")
    assert single["cases"] == [
        {
            "shape": [1, 3, 8, 8, 16],
            "stride": [1, 2, 2],
            "milliseconds": {"shifted": 2000.0, "grouped": 4000.0},
        }
    ]
    assert half["cases"] == [
        {"shape": [1, 3, 8, 8, 16], "stride": [1, 1, 1], "milliseconds": {"pallas": 1.0, "shifted": 2.0}}
    ]
    assert (half["platform"], half["capability"], half["source"]) == ("gpu", [9, 0], "here")


def test_a_result_without_them_is_refused():
    with pytest.raises(InputError, match="--parts=depthwise"):
        measurements({"results": [], "provenance": PROVENANCE}, "here")


def test_new_records_replace_those_of_the_same_device():
    old = {"platform": "gpu", "capability": [9, 0], "dtype": "bfloat16", "cases": [1]}
    other = {"platform": "cpu", "capability": None, "dtype": "bfloat16", "cases": [2]}
    new = {**old, "cases": [3]}
    assert merge([old, other], [new]) == {"measurements": [other, new]}


def test_the_shipped_records_of_cpus_are_those_of_the_published_result():
    source = "docs/results/benchmark_cpu.json"
    result = json.loads((ROOT / source).read_text(encoding="utf-8"))
    (record,) = measurements(result, source)
    assert record in depthwise_choice.measurements()
