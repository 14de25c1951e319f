import pytest

from experiments.benchmarks.publishing import mednext_tables
from experiments.benchmarks.publishing.markdown import met

SPREAD = {"median": 0.5, "low": 0.4, "high": 0.6}
MADE = {
    "commit": "0123456789ab",
    "hardware": {"processor": "Test CPU"},
    "versions": {"jax": "1", "torch": "2"},
    "load_at_start": [0.1],
    "load_at_end": [1.2],
}


def result(part, case, against, ratio=0.5, **more):
    seconds = {side: {"wall_s": {"median": s, "low": s}} for side, s in (("ours", 1.0), (against, 2.0))}
    return {
        **{"part": part, "case": case, "against": against, "seconds": seconds, "cpu_ratio": SPREAD},
        **{"ratio": {**SPREAD, "median": ratio}, "kernel": 3, **more},
    }


def convolution(case, against, ratio):
    return result("depthwise", case, against, ratio, stride=[2, 2, 2], transposed=False)


def record(*results, targets=()):
    return {"results": results, "targets": targets, "rounds": 3, "provenance": MADE}


def test_networks_stand_beside_their_floors_and_the_plain_unet():
    peaks = {"ours": 1, "channels_last": 2, "U-Net, ncdhw": 3}
    floor = {"roofline": {"floor_s": 0.25, "times_the_floor": 4.0}, "peak_gib": peaks}
    target = {"target": "fast: at most 0.4", "measured": 0.5, "limit": 0.4, "case": "k3", "met": False}
    rate = {"part": "rates", "case": "memory, 1 core", "rate_of": "bytes", "per_s": {"median": 7e9}}
    text = mednext_tables.networks(
        record(
            rate,
            result("step", "k3", "channels_last", **floor),
            result("step", "k3", "U-Net, ncdhw", **floor),
            targets=[target],
        )
    )
    assert "Commit 0123456789, Test CPU, jax 1, PyTorch 2, float32, 3 rounds" in text
    assert "| fast: at most 0.4 | 0.5 | k3 | **missed** by 0.1 |" in text
    row = "1 s | 2 s | 0.5 (0.4-0.6) | 0.5 | 0.5 (0.4-0.6) | 250 ms | 4 | 1"
    assert f"| step, k3 | channels-last | {row} | 2 |" in text
    assert f"| step, k3 | U-Net, NCDHW | {row} | 3 |" in text
    assert "| memory, 1 core | 7 GB read and written |" in text


def test_convolutions_are_summed_up_by_kind():
    text = mednext_tables.convolutions(
        record(
            convolution("8 x 8 x 8, 4 by 2 x 2 x 2, k3, fwd", "ncdhw", 0.8),
            convolution("8 x 8 x 8, 4 by 2 x 2 x 2, k3, fwd", "grouped", 0.1),
            convolution("4 x 4 x 4, 8 by 2 x 2 x 2, k3, fwd", "channels_last", 2.0),
            convolution("8 x 8 x 8, 4 by 2 x 2 x 2, k3, fwd+bwd", "ncdhw", 1.04),
        )
    )
    assert "| 3^3, 2 x 2 x 2, forward | 0.8 to 2 | depends on the shape | 10 |" in text
    assert "| 3^3, 2 x 2 x 2, forward and backward | 1.04 | either |  |" in text
    assert text.count("8 x 8 x 8, 4 by 2 x 2 x 2, k3, fwd |") == 1


def test_without_a_record_nothing_is_claimed():
    for text in (mednext_tables.networks(None), mednext_tables.convolutions(None)):
        assert "Nothing has been measured yet" in text
    assert "Nothing has been measured yet" in mednext_tables.convolutions(record())


@pytest.mark.parametrize(("limit", "text"), [({}, "met"), ({"limit": 0.7}, "met by 0.2")])
def test_a_target_is_met_by_an_amount_where_its_limit_is_noted(limit, text):
    assert met({"met": True, "measured": 0.5, **limit}) == text
