import pytest

from dsdenseunet.profiling.benchmark.determinism import FLAG, cost, determinism
from tests.profiling.benchmark import tasks
from tests.training import tiny


def test_the_flag_reaches_one_side_only_and_bits_are_compared(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    said = []
    result = cost(tasks.Step, 2, said.append)
    assert result["equal_bits"] == {"default": False, "deterministic": True}
    assert len(result["seconds"]["deterministic"]["samples_wall_s"]) == 2
    assert result["ratio"].keys() == {"median", "low", "high"}
    assert "'deterministic': True" in said[0]


@pytest.mark.long
def test_a_step_on_this_machine():
    """On a CPU the flag changes nothing, and both sides are bit-equal from process to process."""
    result = determinism(tiny.get_config().to_dict(), 2, print)
    assert result["flag"] == FLAG
    assert result["equal_bits"] == {"default": True, "deterministic": True}
