"""What predicts: the runs of a folder, and the temperature beside their weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.training import temperature
from dsdenseunet.training.trained import runs_in


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two runs with best weights."""
    monkeypatch.setattr(temperature, "best_phase", lambda workdir, phase: phase or "phase2")
    for name in ("a", "b"):
        for phase, step in (("phase1", 3), ("phase2", 7)):
            (tmp_path / name / phase / "best" / str(step)).mkdir(parents=True)
            (tmp_path / name / phase / "best" / str(step) / "_CHECKPOINT_METADATA").touch()
    return [str(tmp_path / name) for name in ("a", "b")]


def test_a_folder_of_folds_stands_for_its_runs(tmp_path: Path):
    for name in ("fold10", "fold2/seed1", "fold2/seed0", "out_of_fold", "folds"):
        (tmp_path / name).mkdir(parents=True)
    found = [Path(run).relative_to(tmp_path).as_posix() for run in runs_in(str(tmp_path))]
    assert found == ["fold2/seed0", "fold2/seed1", "fold10"]
    assert runs_in(str(tmp_path / "fold10")) == runs_in(str(tmp_path / "none")) == []


def test_of_runs_without_one_it_is_1(runs: list[str]):
    assert temperature.of_runs(runs) == 1


def test_of_several_it_is_the_geometric_mean(runs: list[str]):
    temperature.write(Path(runs[0]), 1.0, cases=3)
    temperature.write(Path(runs[1]), 4.0, cases=3)
    assert temperature.of_runs(runs) == pytest.approx(2.0)
    assert temperature.of_runs(runs[:1]) == 1.0
    assert files.read_json(Path(runs[1]) / "temperature.json")["step"] == 7


def test_of_some_of_them_or_of_other_weights_it_is_refused(runs: list[str]):
    temperature.write(Path(runs[0]), 2.0)
    with pytest.raises(InputError, match=r"b/temperature\.json"):
        temperature.of_runs(runs)
    with pytest.raises(InputError, match="of the weights of phase2, step 7"):
        temperature.of_runs(runs[:1], "phase1")
    files.write_json(Path(runs[0]) / "temperature.json", {"temperature": -1, "phase": "phase2", "step": 7})
    with pytest.raises(InputError, match="a number > 0"):
        temperature.of_runs(runs[:1])
