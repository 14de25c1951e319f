"""What a second start of a run accepts: its settings, data, versions and files against those of the first."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from dsdenseunet.core.errors import InputError
from dsdenseunet.training import cascade

pytestmark = pytest.mark.usefixtures("tiny_network")


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("optimizer.learning_rate", 0.2, "config.optimizer.learning_rate: 0.1 -> 0.2"),
        ("data.batch_size", 4, "config.data.batch_size: 2 -> 4"),
        ("phases.phase1.epochs", 3, "phase2 has begun"),
        ("phases.phase2.epochs", 1, "2 epochs are done"),
    ],
)
def test_changes_that_would_be_another_run_are_refused(
    config: ConfigDict, finished: Path, field: str, value: object, named: str
):
    config.update_from_flattened_dict({field: value})
    before = (finished / "provenance.json").read_text()
    with pytest.raises(InputError) as error:
        cascade.run(config, finished)
    assert named in str(error.value)
    assert "restore" in error.value.fix
    assert (finished / "provenance.json").read_text() == before


@pytest.mark.parametrize("schedule", ["polynomial", "cosine"])
def test_a_run_whose_schedule_ends_with_it_cannot_get_longer(
    config: ConfigDict, finished: Path, schedule: str
):
    path = finished / "provenance.json"
    record = json.loads(path.read_text())
    record["starts"][-1]["config"]["optimizer"]["schedule"] = schedule
    path.write_text(json.dumps(record))
    config.optimizer.schedule = schedule
    cascade.run(config, finished)
    with pytest.raises(InputError, match=rf"phase2\.epochs: 2 -> 3 .* follow from it: schedule {schedule}"):
        cascade.run(config, finished, extend_to=3)


def test_harmless_changes_are_named(config: ConfigDict, finished: Path, capsys: pytest.CaptureFixture[str]):
    config.data.threads = 1
    config.training.validate_epochs = 2
    cascade.run(config, finished)
    output = capsys.readouterr().out
    assert "config.data.threads: 2 -> 1" in output
    assert "config.training.validate_epochs: 1 -> 2: other epochs compete" in output


@pytest.mark.parametrize(("library", "harmless"), [("jax", True), ("grain", False)])
def test_other_library_versions_are_named(
    config: ConfigDict, finished: Path, capsys: pytest.CaptureFixture[str], library: str, harmless: bool
):
    path = finished / "provenance.json"
    record = json.loads(path.read_text())
    record["starts"][-1]["versions"][library] = "0.0.1"
    path.write_text(json.dumps(record))
    if harmless:
        cascade.run(config, finished)
        assert f"{library} 0.0.1 -> " in capsys.readouterr().out
    else:
        with pytest.raises(InputError, match=rf"{library} 0\.0\.1 -> "):
            cascade.run(config, finished)


def test_other_data_is_refused(config: ConfigDict, finished: Path, tmp_path: Path):
    copy = Path(shutil.copytree(config.data.cache, tmp_path / "cache"))
    config.data.cache = str(copy)
    cascade.run(config, finished)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["cases"][0]["sha256"]["image"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="the cache's content"):
        cascade.run(config, finished)


def test_damaged_checkpoint_is_a_clear_error(config: ConfigDict, finished: Path):
    shutil.rmtree(finished / "phase2" / "latest" / "4" / "state")
    with pytest.raises(InputError, match="missing, cut off or damaged") as error:
        cascade.run(config, finished)
    assert error.value.where.endswith("phase2/latest/4/state")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"starts": [1]}', '{"starts": [{"config": 1}]}'])
def test_damaged_record_of_starts_is_a_clear_error(config: ConfigDict, finished: Path, content: str):
    (finished / "provenance.json").write_text(content)
    with pytest.raises(InputError, match="remove") as error:
        cascade.run(config, finished)
    assert error.value.where.endswith("provenance.json")
    # What the message advises.
    (finished / "provenance.json").unlink()
    cascade.run(config, finished)


def test_a_run_of_the_schema_before_is_compared_with_the_values_of_then(
    config: ConfigDict, finished: Path, capsys: pytest.CaptureFixture[str]
):
    path = finished / "provenance.json"
    record = json.loads(path.read_text())
    stored = record["starts"][-1]["config"]
    assert stored.pop("schema") == 6
    # Before, there were two phases.
    phases = stored.pop("phases")
    stored["training"] |= {f"{name}_epochs": phases[name]["epochs"] for name in phases["order"]}
    stored["training"]["init_from"] = ""
    # Every run was of LiTS.
    task = stored.pop("task")
    stored["data"]["hu_window"] = task["channels"][0][2:]
    stored["inference"] |= {"largest_component": False, "tumour_within_liver_mm": -1.0}
    assert stored["training"].pop("validate_patches") == 4
    # Before, a loss was one cross-entropy and the optimiser SGD.
    loss, optimizer = stored["loss"], stored["optimizer"]
    stored["loss"] = {
        "class_weights": loss["cross_entropy"]["class_weights"],
        "ignore_label": task["ignore_label"],
    }
    fields = ("learning_rate", "momentum", "decay_factor", "decay_epochs", "lr_floor")
    stored["optimizer"] = {name: optimizer[name] for name in fields} | {"restart_in_phase2": True}
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"config\.training\.validate_patches: 0 -> 4"):
        cascade.run(config, finished)
    config.training.validate_patches = 0
    cascade.run(config, finished)
    assert "changed since the last start" not in capsys.readouterr().out
    stored["schema"] = 1000
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match="made by a newer version"):
        cascade.run(config, finished)
