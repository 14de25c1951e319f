import json

import numpy as np
import pytest

from dsdenseunet.configure import configuring
from dsdenseunet.configure.configuring import beside, check_out, configure, prepare_cache, read, write
from dsdenseunet.core.errors import InputError
from dsdenseunet.models import registry
from dsdenseunet.reporting.configure_page import write_configure_page
from dsdenseunet.tasks.task import Task
from dsdenseunet.training import cascade
from dsdenseunet.training.settings import set_by_flags
from tests.data.fingerprint import scans
from tests.training.tiny import TinyNet


def chosen(data, out, **flags):
    usual = {"device": "rtx3070", "budget_gib": None, "compiled": False, "timeout_s": 60.0, "workers": 1}
    silent = {"on_case": lambda *progress: None, "say": lambda line: None}
    return configure(str(data), out=str(out), **{"cache": None, "network": None, **usual, **silent, **flags})


def test_from_a_folder_to_training(tmp_path, monkeypatch):
    data, out, cache = (
        scans.write_boxes(tmp_path / "data", cases=4),
        tmp_path / "my_task.py",
        tmp_path / "cache",
    )
    found = chosen(data, out, cache=str(cache))
    record = write(str(out), found)
    write_configure_page(beside(out, "page"), record)
    prepare_cache(found, str(cache), workers=0)
    assert json.loads(beside(out, "fingerprint").read_text())["choices"] == json.loads(
        json.dumps(record["choices"])
    )
    page = beside(out, "page").read_text()
    assert "could not be drawn" not in page
    for choice in found.choices:
        assert choice.title.capitalize() in page
    assert "NOT CHECKED" in page and "NOT CHECKED" in out.read_text()

    config = read(out.read_text())
    assert Task.of(config.task) == found.task
    assert config.name == "my_task"
    # Three of four cases have the core.
    assert config.task.stratify_by == "core"
    assert config.data.folds == 4
    # D, H, W are z, y, x.
    assert config.data.patch_size == (16, 16, 16)
    # A network that compiles in a second, which has no matrices for Muon.
    monkeypatch.setattr(registry, "build", lambda model: TinyNet(in_channels=model["in_channels"]))
    config.optimizer.name = "adam"
    config.phases.train.epochs = 1
    set_by_flags(config, {"training.steps_per_epoch": ("--steps", 2)})
    cascade.run(config, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]


def test_the_same_folder_gives_the_same_bytes(tmp_path):
    data = scans.write_boxes(tmp_path / "data", cases=2)
    first, second = (chosen(data, tmp_path / "my_task.py") for _ in range(2))
    assert first.text == second.text
    assert first.fingerprint.as_json() == second.fingerprint.as_json()


def test_cases_that_cannot_be_read_are_named_and_left_out(tmp_path):
    data = scans.write_boxes(tmp_path / "data", cases=3)
    (data / "labelsTr/toy_1.nii.gz").write_bytes(b"no volume")
    found = chosen(data, tmp_path / "my_task.py")
    assert len(found.fingerprint.cases) == 2
    (note,) = found.notes
    assert note.startswith("Left out, toy_1: ") and "labelsTr/toy_1.nii.gz" in note
    (data / "labelsTr/toy_2.nii.gz").unlink()
    with pytest.raises(InputError) as error:
        chosen(data, tmp_path / "my_task.py")
    assert error.value.found == "1 labelled case that can be read; 2 cases that cannot"


def test_patients_with_several_scans_are_written_as_folds(tmp_path):
    data = scans.write_boxes(tmp_path / "data", cases=4)
    for number, name in enumerate(("p1_a", "p1_b", "p2_a", "p3_a")):
        for kind in ("imagesTr", "labelsTr"):
            (data / kind / f"toy_{number}.nii.gz").rename(data / kind / f"{name}.nii.gz")
    out = tmp_path / "my_task.py"
    found = chosen(data, out)
    write(str(out), found)
    folds = json.loads(beside(out, "folds").read_text())
    assert sorted(fold["val"] for fold in folds) == [["p1_a", "p1_b"], ["p2_a"], ["p3_a"]]
    assert read(out.read_text()).data.fold_file == str(beside(out, "folds"))


def test_labels_of_nothing_and_unknown_cards_are_one_message(tmp_path):
    data, out = scans.describe(tmp_path / "data", ["MRI"], ["background", "shell"]), tmp_path / "my_task.py"
    for number in range(2):
        empty = np.zeros((8, 8, 8), np.uint8)
        scans.write_case(data, f"toy_{number}", empty.astype(np.float32), empty)
    with pytest.raises(InputError, match="nothing but background"):
        chosen(data, out)
    with pytest.raises(InputError, match="rtx3070"):
        chosen(data, out, device="rtx9999")


def test_classes_that_never_occur_and_mixed_orientations_are_noted(tmp_path):
    data = scans.write_boxes(tmp_path / "data", cases=2)
    scans.describe(data, ["MRI"], ["background", "Shell", "Core", "Absent"])
    volume = np.zeros((16, 20, 24))
    volume[4:12, 5:13, 6:14] = 1
    scans.write_case(data, "toy_0", volume.astype(np.float32), volume.astype(np.uint8), (-1, 1, 1.5))
    notes = chosen(data, tmp_path / "my_task.py").notes
    assert notes[0] == "No case has a voxel of absent: it cannot be learned."
    assert notes[1].startswith("Files run along LAS, RAS;")


@pytest.mark.parametrize("name", ["my-task.py", "my_task.txt", "class.py", "1.py"])
def test_names_that_are_no_module_s_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="no Python module"):
        check_out(str(tmp_path / name), overwrite=True)


def test_what_is_there_is_replaced_only_if_asked(tmp_path):
    out = tmp_path / "my_task.py"
    check_out(str(out), overwrite=False)
    beside(out, "page").touch()
    with pytest.raises(InputError) as error:
        check_out(str(out), overwrite=False)
    assert error.value.found == f"{tmp_path / 'my_task.html'}: already there"
    check_out(str(out), overwrite=True)


def test_the_compiler_is_asked_for_the_config_that_is_written(tmp_path, monkeypatch):
    asked = []

    def figures(self, program, config):
        asked.append(config)
        return {
            "memory": {"temp": 10**6},
            "bytes_accessed": 1,
            "kernels": 1,
            "parts": {"parameters": 0, "statistics": 0, "optimiser": 0, "batch": 0},
        }

    monkeypatch.setattr(configuring.Compiler, "figures", figures)
    monkeypatch.setattr(configuring, "has_gpu_compiler", lambda: False)
    found = chosen(scans.write_boxes(tmp_path / "data", cases=2), tmp_path / "my_task.py", compiled=True)
    assert [one.model.family for one in asked] == ["separable_unet"]
    assert found.memory["is_estimate"]
    assert "ESTIMATE" in found.text
