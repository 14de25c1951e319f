"""The commands of this project's own configs: what they train on, and how they share a budget."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.benchmarks.peers import contenders, entries
from experiments.benchmarks.peers.budget import Budget
from experiments.benchmarks.peers.contenders import Contender, Heat
from tests.documents import ROOT


@pytest.fixture
def contender(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Contender]:
    """Each network has seven parameters and two multiply-adds a voxel."""

    def described(model: Any, patch: tuple[int, int, int]) -> Any:
        totals = {"trainable": 7, "macs": 2 * patch[0] * patch[1] * patch[2]}
        return SimpleNamespace(totals=lambda: totals)

    monkeypatch.setattr(contenders, "describe", described)
    return lambda text: contenders.ours(entries.load(f"{ROOT}/configs/{text}"), 20.0)


def fields_of_training(one: Contender, budget: str, folder: Any) -> dict[str, str]:
    heat = Heat(folder, {}, ("a", "b", "c", "d"), ("e",), Budget.parse(budget), 3, folder, lambda: 230.0)
    commands = one.commands(heat)
    next(commands)
    stage, words = next(commands)
    assert stage == "train"
    pairs = (word.removeprefix("--config.").split("=", 1) for word in words if word.startswith("--config."))
    return dict(pairs)


def test_cases_are_held_back_only_where_they_choose(contender, tmp_path):
    given = fields_of_training(contender("decathlon.py:Task04_Hippocampus"), "300s", tmp_path)
    assert given["data.explicit.train"] == "('a', 'b', 'c', 'd')"
    assert given["data.explicit.validation"] == "()"
    assert (given["training.budget_seconds"], given["seed"]) == ("210.0", "3")
    given = fields_of_training(contender("demo.py"), "100steps", tmp_path)
    assert (given["data.explicit.train"], given["data.explicit.validation"]) == ("('a', 'b')", "('c', 'd')")
    epochs = [given[f"phases.{phase}.epochs"] for phase in ("phase1", "phase2")]
    assert (given["training.budget_seconds"], epochs) == ("0.0", ["4", "6"])


def test_a_cascade_is_a_contender_like_any_other(contender, tmp_path):
    one = contender("cascades.py:ra_unet")
    assert one.facts == {"parameters": 21, "voxel_macs": 6.0}
    given = fields_of_training(one, "300s", tmp_path)
    # 100, 50 and 60 epochs of as many steps.
    seconds = [given[f"stages.{name}.training.budget_seconds"] for name in ("localise", "liver", "tumour")]
    assert seconds == ["100.0", "50.0", "60.0"]
    given = fields_of_training(one, "21000steps", tmp_path)
    assert [given[f"stages.{name}.phases.train.epochs"] for name in ("localise", "liver", "tumour")] == [
        *("10", "5", "6")
    ]
    assert given["stages.tumour.training.budget_seconds"] == "0.0"
    logs = {"steps": 10, "images": 20, "step_s": 0.5, "device_bytes": None, "curve": [1]}
    more = {"steps": 30, "images": 90, "step_s": 0.1, "device_bytes": 4, "curve": []}
    assert contenders.run_log.together({"": logs}) == logs
    assert contenders.run_log.together({"liver": logs, "tumour": more}) == {
        **{"steps": 40, "images": 110, "step_s": 0.2, "device_bytes": 4, "curve": []}
    }
