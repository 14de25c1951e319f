"""Every part on a CPU, with the smallest network: the same code that measures a GPU."""

import json

import pytest

from configs.demo import get_config
from experiments.benchmarks.gpu import all_parts_gpu
from experiments.benchmarks.gpu.all_parts_gpu import PARTS, Part, run
from experiments.benchmarks.gpu.setting import Amounts
from tests.documents import ROOT

AMOUNTS = Amounts(
    **{"matrix": 32, "copied_gib": 0.001, "repeats": 2, "volume": (6, 70, 64), "volume_batches": (2,)},
    **{"block_steps": 2, "phantoms": (32, 64, 64)},
)


@pytest.fixture
def config():
    config = get_config()
    config.model.update(block_layers=(1, 1), growth_rate=4, bottleneck=8, stem_channels=8)
    config.model.decoder_channels = (8, 8, 8)
    config.data.update(patch_size=(4, 32, 32), batch_size=1)
    config.training.update(phase1_epochs=1, phase2_epochs=1, steps_per_epoch=2)
    return config.to_dict()


def measure(config, names, seconds=600):
    saved = []
    run(
        config,
        names,
        **{"seconds": seconds, "whole_schedule": True, "rounds": 1, "amounts": AMOUNTS},
        **{"say": print, "save": lambda record: saved.append(json.loads(json.dumps(record)))},
    )
    return saved


def test_rates_scan_and_schedule(config, monkeypatch):
    monkeypatch.setattr(all_parts_gpu, "find_spec", lambda name: None)
    saved = measure(config, ("device", "volume", "schedule"))
    results = saved[-1]["results"]
    assert not [result for result in results if "error" in result]
    assert len(saved) == len(results), "saved after each result"
    by_part = {result["part"]: result for result in results}
    assert by_part["schedule"]["steps"] == 4 and by_part["schedule"]["whole_s"] > 0
    assert by_part["volume"]["patches"] > 1
    assert len(saved[-1]["targets"]) == 3
    assert saved[-1]["provenance"]["hardware"]["compute_capability"] is None
    names = ", ".join(f'"{name}"' for name in PARTS)
    assert f"_PARTS = ({names})" in (ROOT / "experiments/benchmark_gpu.py").read_text()


@pytest.mark.long
def test_convolutions_and_networks(config, monkeypatch):
    monkeypatch.setattr(all_parts_gpu, "find_spec", lambda name: None)
    results = measure(config, ("device", "depthwise", "step", "inference", "determinism"))[-1]["results"]
    assert not [result for result in results if "error" in result or result.get("failed")]
    by_part = {result["part"]: result for result in results}
    assert set(by_part["depthwise"]["seconds"]) == {"shifted", "grouped", "pallas"}
    # This machine has no GPU, so neither side varies.
    assert by_part["determinism"]["equal_bits"] == {"default": True, "deterministic": True}
    for part in ("step", "inference"):
        # Not always above 1 on a CPU: Winograd's form has fewer operations than are counted.
        found = by_part[part]
        seconds = found["seconds"][f"{found['case']}, ours"]["wall_s"]["median"]
        floor = found["roofline"]["floor_s"]
        assert 0 < floor == max(found["roofline"]["operations_s"], found["roofline"]["bytes_s"])
        assert found["roofline"]["times_the_floor"] == pytest.approx(seconds / floor, rel=1e-3)


@pytest.mark.long
@pytest.mark.bench
def test_pytorch_eager_and_compiled_stand_beside(config):
    pytest.importorskip("torch")
    results = measure(config, ("step",), seconds=1200)[-1]["results"]
    assert [result["losses_agree"] for result in results] == [True, True]
    assert set(results[0]["seconds"]) == {"DS, ours", "DS, eager", "DS, compiled"}
    assert results[0]["ratio"]["median"] > 0


def test_a_part_that_fails_or_has_no_time_does_not_end_the_run(config, monkeypatch):
    def broken(setting):
        yield {"part": "first", "case": "before"}
        raise RuntimeError("lost\nthe device")

    seen = []

    def whole(setting):
        seen.append(setting.left_s())
        yield {"part": "third", "case": "after"}

    parts = {"first": Part(broken, 1), "second": Part(broken, 500), "third": Part(whole, 5)}
    monkeypatch.setattr(all_parts_gpu, "PARTS", parts)
    results = measure(config, tuple(parts), seconds=100)[-1]["results"]
    assert [result["case"] for result in results] == ["before", "failed", "left out: no time", "after"]
    assert results[1]["error"] == "RuntimeError: lost\nthe device"
    assert 90 < seen[0] <= 100
