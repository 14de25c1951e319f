from experiments.benchmarks.gpu import record
from experiments.benchmarks.publishing.gpu_tables import markdown

HALF = {"median": 0.5, "low": 0.4, "high": 0.6}


def seconds(**sides):
    return {side.replace("_", ", "): {"wall_s": {"median": value}} for side, value in sides.items()}


HARDWARE = {"device_kind": "NVIDIA Test", "driver": "580.1", "processor": "P", "compute_capability": [9, 0]}
PROVENANCE = {"commit": "0123456789ab", "hardware": HARDWARE, "versions": {"jax": "0.11.2", "torch": None}}
COUNTED = {"dtype": "bfloat16", "operations": 20, "bytes": 10}
RECORD = record.assemble(
    [
        {"part": "provenance", "case": "provenance", "provenance": PROVENANCE},
        {"part": "rates", "case": "a", "rate_of": "bfloat16", "per_s": {"median": 10.0}},
        {"part": "rates", "case": "b", "rate_of": "bytes", "per_s": {"median": 10.0}},
        {
            **{"part": "step", "case": "DS, bfloat16, batch 4", "ratio": {"median": 2, "low": 1, "high": 3}},
            **{
                "seconds": seconds(DS_ours=0.004, DS_eager=2.0),
                "losses_agree": True,
                "differences": {"e": 1},
            },
            **{"counted": COUNTED, "took_s": 4.0},
        },
        {
            **{"part": "depthwise", "case": "3 x 7 x 7, 128, fwd, bfloat16", "ratio": HALF},
            "seconds": seconds(shifted=0.00002, PyTorch=0.00004),
        },
        {"part": "volume", "case": "400 x 2", "patches": 1056, "best": "4 at once", "scan_s": HALF},
        {"part": "schedule", "case": "500 steps", "whole_s": 90.0, "host_share_for_data": 0.015},
        {"part": "memory", "case": "remat none", "predicted": 2**30, "peak": 2**31, "error": 0.5},
        {"part": "memory", "case": "remat layer", "predicted": 2**33, "out_of_memory": "exhausted"},
        {
            "part": "determinism",
            "case": "DS",
            "flag": "--f",
            "ratio": HALF,
            "equal_bits": {"deterministic": True},
        },
        {"part": "flags", "case": "DS step, x", "flags": "--x", "failed": "unknown"},
    ]
)


def test_rows():
    text = markdown(RECORD)
    assert "Measured on one NVIDIA Test, driver 580.1, jax 0.11.2, commit 0123456789." in text
    assert "| step, DS, bfloat16, batch 4 | 4 ms | 2 s |  | 2 (1-3) | 2 | yes |" in text
    assert "| 3 x 7 x 7, 128, fwd, bfloat16 | 0.02 ms |  |  | 0.04 ms | 0.5 (0.4-0.6) |" in text
    assert "| a scan of 400 x 2, 1,056 patches, 4 at once | 0.5 (0.4-0.6) s |  |  |" in text
    assert "| the schedule, 500 steps | 90.0 s | 1.5 % |  |" in text
    assert "| remat none | 1.00 | 2.00 | 50.0 % |\n| remat layer | 8.00 | out of memory |  |" in text
    assert "| `--f` | DS | 0.5 (0.4-0.6) | yes |\n| `--x` | DS step, x | failed |  |" in text


def test_a_miss_is_a_miss_with_its_floor_beside_and_what_is_absent_is_not_measured():
    text = markdown(RECORD)
    target = "DS training step, times PyTorch's speed: at least 1"
    assert f"| {target} | 0.5 | DS, bfloat16, batch 4; 2 times its floor | **missed** by 0.5 |" in text
    assert "| a scan of 512 x 512 x 400 segmented, seconds: at most 3 | 0.5 | 400 x 2 | met by 2.5 |" in text
    nothing = markdown(None)
    assert nothing.startswith("No GPU has been measured yet.")
    assert f"| {target} |  |  | not measured |" in nothing
