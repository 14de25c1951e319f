import sys
import threading
import types

import pytest

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.training import provenance, sinks

FIELDS = {"seed": 0, "data.patch_size": (4, 32, 32), "name": "x" * 900}


@pytest.fixture
def origin(tmp_path):
    start = {
        "config": {},
        "data_sha256": "",
        "versions": {},
        "hardware": {},
        "started": "2026-11-27T12:00:00",
    }
    files.write_json(tmp_path / provenance.PROVENANCE_FILE, {"starts": [start]})
    return sinks.Origin(tmp_path, "phase1", 0, FIELDS)


class FakeWandb(types.ModuleType):
    """What is used of wandb, with its names; `refuses` as without an account."""

    class Error(Exception):
        pass

    class Settings:
        def __init__(self, *, console):
            assert console == "off"

    def __init__(self, refuses=False, step=0):
        super().__init__("wandb")
        self.refuses, self.step = refuses, step
        self.modes, self.logged, self.finished = [], [], 0

    def init(self, *, id, name, group, dir, config, resume, settings, mode=None):
        self.modes.append(mode)
        if self.refuses and mode != "offline":
            raise self.Error("No API key configured. Use `wandb login` to log in.")
        self.given = {"id": id, "name": name, "group": group, "dir": dir, "config": config, "resume": resume}
        return self

    def log(self, data, *, step):
        self.logged.append((step, data))

    def finish(self):
        self.finished += 1


class FakeMLflow(types.ModuleType):
    """What is used of mlflow, with its names; one store of runs for all starts."""

    def __init__(self):
        super().__init__("mlflow")
        self.runs, self.active = {}, None

    def search_runs(self, *, filter_string, max_results, output_format):
        assert output_format == "list"
        wanted = filter_string.removeprefix("tags.`dsdenseunet.id` = ").strip("'")
        found = [run for run in self.runs.values() if run.tags["dsdenseunet.id"] == wanted]
        return found[:max_results]

    def start_run(self, run_id=None, *, run_name, tags):
        assert self.active is None
        if run_id is None:
            run_id = f"run{len(self.runs)}"
            info = types.SimpleNamespace(run_id=run_id)
            self.runs[run_id] = types.SimpleNamespace(
                info=info, name=run_name, tags=tags, params={}, values=[]
            )
        self.active = self.runs[run_id]

    def log_params(self, params):
        assert all(len(value) <= 500 for value in params.values())
        self.active.params.update(params)

    def log_metrics(self, metrics, step):
        self.active.values += [(step, name, value) for name, value in metrics.items()]

    def end_run(self):
        self.active = None

    def MlflowClient(self):
        return self

    def get_metric_history(self, run_id, key):
        return [types.SimpleNamespace(step=step) for step, name, _ in self.runs[run_id].values if name == key]


def sent(name, origin, steps):
    """What is said while a sink in the background takes these steps."""
    said = []
    (sink,) = sinks.open_all((name,), origin, said.append)
    for step in steps:
        sink.log({"train/loss": 1 / step}, step)
    sink.close()
    return said


def test_wandb_gets_a_phase_and_its_config(origin, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", wandb := FakeWandb())
    assert sent("wandb", origin, (1, 2)) == []
    assert wandb.logged == [(1, {"train/loss": 1.0}), (2, {"train/loss": 0.5})]
    assert (wandb.modes, wandb.finished) == ([None], 1)
    folder = origin.workdir
    about = {"name": f"{folder.name}/phase1", "group": folder.name, "dir": str(folder), "config": FIELDS}
    assert wandb.given == {**about, "id": origin.id, "resume": "allow"}


def test_wandb_without_an_account_writes_to_the_folder(origin, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", wandb := FakeWandb(refuses=True))
    assert sent("wandb", origin, (1,)) == []
    assert (wandb.modes, len(wandb.logged)) == ([None, "offline"], 1)


def test_wandb_is_not_sent_what_it_has(origin, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", wandb := FakeWandb(step=3))
    sent("wandb", origin, (1, 2, 3, 4))
    assert [step for step, _ in wandb.logged] == [3, 4]


def test_mlflow_continues_the_run_of_the_phase_and_no_other(origin, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", mlflow := FakeMLflow())
    assert sent("mlflow", origin, (1, 2, 3)) == []
    assert sent("mlflow", origin, (3, 4)) == []
    assert sent("mlflow", sinks.Origin(origin.workdir, "phase2", 0, FIELDS), (1,)) == []
    first, second = mlflow.runs.values()
    assert [(step, value) for step, _, value in first.values] == [(n, 1 / n) for n in (1, 2, 3, 4)]
    assert (second.name, len(second.values)) == (f"{origin.workdir.name}/phase2", 1)
    assert first.params["data.patch_size"] == "(4, 32, 32)"
    assert mlflow.active is None


@pytest.mark.parametrize("fails", ["open", "log", "close"])
def test_a_sink_that_fails_is_told_of_once_and_left_out(fails, origin, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", wandb := FakeWandb())

    def fail(*_, **__):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(wandb, {"open": "init", "log": "log", "close": "finish"}[fails], fail)
    (said,) = sent("wandb", origin, range(1, 50))
    assert said == "warning: nothing more goes to wandb: no route to host; metrics.jsonl has everything"


def test_a_sink_that_hangs_holds_nothing_up(origin, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(sinks, "_PATIENCE_S", 0.01)
    monkeypatch.setattr(FakeWandb, "init", lambda self, **_: release.wait() and self)
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb())
    (said,) = sent("wandb", origin, (1,))
    release.set()
    assert said == "warning: wandb has not taken everything within 0.01 s"


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(sinks.importlib.util, "find_spec", lambda name: None)
    sinks.check_installed(("tensorboard",))
    with pytest.raises(InputError, match=r"mlflow, which is not installed(.|\n)*\[mlflow\]"):
        sinks.check_installed(("tensorboard", "mlflow"))


def test_a_phase_keeps_its_id_when_its_folder_moves_or_starts_again(origin, tmp_path):
    moved = tmp_path / "elsewhere" / provenance.PROVENANCE_FILE
    (start,) = provenance.read_starts(origin.workdir)
    files.write_json(moved, {"starts": [start, {**start, "started": "later"}]})
    assert sinks.Origin(moved.parent, "phase1", 7, {}).id == origin.id
    assert sinks.Origin(origin.workdir, "phase2", 0, {}).id != origin.id
    files.write_json(moved, {"starts": [{**start, "started": "another"}]})
    assert sinks.Origin(moved.parent, "phase1", 0, {}).id != origin.id
