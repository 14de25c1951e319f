import pytest

from experiments.benchmarks.measuring.targets import MEDNEXT_TARGETS, judge


def ratio(part, case, against, median):
    return {"part": part, "case": case, "against": against, "ratio": {"median": median}}


def start(case, seconds):
    return {"part": "compile", "case": case, "wall_s": {"median": seconds}}


@pytest.mark.parametrize(
    ("results", "measured", "case", "met"),
    [
        (
            [ratio("step", "DS", "ncdhw", 0.8), ratio("step", "standard", "ncdhw", 1.2)],
            1.2,
            "standard",
            False,
        ),
        (
            [ratio("depthwise", "a, fwd+bwd", "ncdhw", 1.0), ratio("depthwise", "b, fwd", "ncdhw", 3)],
            1,
            "a, fwd+bwd",
            True,
        ),
        (
            [
                ratio("depthwise", "a, fwd+bwd", "grouped", 0.04),
                ratio("depthwise", "b, fwd+bwd", "grouped", 0.1),
            ],
            10,
            "b, fwd+bwd",
            False,
        ),
        ([ratio("pipeline", "one", "step", 0.1)], 10, "one", True),
        ([start("DS, cold", 41)], 41, "DS, cold", False),
        ([start("DS, warm", 9.5), start("standard, warm", 3)], 9.5, "DS, warm", True),
    ],
)
def test_the_worst_result_decides(results, measured, case, met):
    (found,) = judge(results)
    assert (found["measured"], found["case"], found["met"]) == (measured, case, met)


def test_mednext_is_held_to_its_own_network_and_to_the_unet():
    results = [
        {**ratio("step", f"k{kernel}", against, median), "kernel": kernel}
        for kernel, against, median in (
            *((3, "ncdhw", 0.44), (3, "U-Net, channels_last", 1.2)),
            *((5, "channels_last", 0.41), (5, "U-Net, channels_last", 0.9)),
        )
    ]
    found = {target["target"]: target["met"] for target in judge(results, MEDNEXT_TARGETS)}
    assert found == {
        "MedNeXt S k3, training step, share of PyTorch's seconds: at most 0.45": True,
        "MedNeXt S k5, training step, share of PyTorch's seconds: at most 0.4": False,
        "MedNeXt S k3, training step, share of the plain U-Net's seconds in PyTorch: at most 1": False,
        "MedNeXt S k5, training step, share of the plain U-Net's seconds in PyTorch: at most 1": True,
    }
    (found,) = judge(results[:1], MEDNEXT_TARGETS)
    assert found["limit"] == 0.45


def test_what_was_not_measured_is_not_judged():
    assert judge([ratio("inference", "DS", "ncdhw", 2.0), ratio("conv", "a, fwd+bwd", "direct", 2)]) == []
