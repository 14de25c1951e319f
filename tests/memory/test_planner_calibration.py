import pytest

from dsdenseunet.core import files
from dsdenseunet.memory.cards import card
from dsdenseunet.memory.planner import calibration
from dsdenseunet.memory.planner.calibration import LEAST, calibrate, settings_to_measure, summarise
from dsdenseunet.memory.planner.compiler import CompilationError
from dsdenseunet.memory.planner.measured import measure
from dsdenseunet.memory.planner.plan import Calibration
from dsdenseunet.models import registry
from dsdenseunet.models.dense_unet import DenseUNet3D
from dsdenseunet.training.settings import config_to_json
from tests.memory.test_planner import FakeCompiler
from tests.training import tiny


def row(predicted, peak, seconds=2.0, **more):
    return {"predicted": predicted, "peak": peak, "said_to_fit": True, "seconds_per_step": seconds} | {
        "estimated_seconds": 1.0,
        **more,
    }


def test_summary_by_hand():
    full = {"predicted": 990, "said_to_fit": True, "out_of_memory": "exhausted"}
    rightly = full | {"said_to_fit": False}
    found = summarise([row(100, 105), row(100, 95, 3.0), row(200, 200, 4.0), full, rightly, rightly])
    assert found == {
        "measured": 3,
        "enough": False,
        "worst_error": round(100 / 95 - 1, 4),
        "within_10_percent": True,
        "wrongly_said_to_fit": 1,
        "headroom": 0.05,
        "seconds_factor": 3.0,
    }


def test_headroom_is_never_nothing_and_errors_show():
    found = summarise([row(120, 100)] * LEAST)
    assert found["headroom"] == 0.02 and found["enough"]
    assert not found["within_10_percent"]
    with pytest.raises(ValueError, match="no setting was measured"):
        summarise([row(1, None)])


def test_enough_settings():
    settings = settings_to_measure(DenseUNet3D(), [(12, 224, 224)])
    assert len(settings) == len(set(settings)) >= LEAST


def test_calibration_compares_what_was_compiled_with_what_ran(tmp_path, monkeypatch):
    """With stand-ins for the compiler and the card: the second setting crashes, the third runs out."""
    seen = []

    def stand_in(module, request, environment, timeout_s, what):
        seen.append(environment["XLA_PYTHON_CLIENT_MEM_FRACTION"])
        if len(seen) == 2:
            raise CompilationError("crashed")
        if len(seen) == 3:
            return {"out_of_memory": "exhausted"}
        return {"peak": 2 * 2**30, "seconds_per_step": 0.5, "device": "stand-in"}

    monkeypatch.setattr(calibration, "in_child", stand_in)
    config, one = tiny.get_config(), card("h200")
    settings = settings_to_measure(DenseUNet3D(), [(4, 32, 32)], batches=(1, 2))
    said = []
    compiler = FakeCompiler(one, said.append)
    found = calibrate(config, one, compiler, settings, 8 * 2**30, said.append)
    # Two of eight do not compile, one crashes, one runs out.
    assert found["measured"] == 4 and len(found["rows"]) == 6
    assert set(seen) == {f"{8 * 2**30 / one.memory_bytes:.4f}"}
    files.write_json(tmp_path / "calibration.json", found)
    read = Calibration.read(tmp_path / "calibration.json")
    assert (read.headroom, read.seconds_factor) == (found["headroom"], found["seconds_factor"])


def test_the_step_runs_and_is_timed(monkeypatch):
    monkeypatch.setattr(registry, "build", tiny.build_tiny)
    config = tiny.get_config()
    config.data.batch_size = 1
    answer = measure({"config": config_to_json(config), "steps": 2})
    assert answer["seconds_per_step"] > 0 and answer["peak"] is None
