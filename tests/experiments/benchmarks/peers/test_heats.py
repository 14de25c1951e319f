"""Heats of programs that write what they are told: their time, their Dice, and what is not run again."""

import dataclasses
import json
import os
import shutil
import sys

import numpy as np
import pytest

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti
from dsdenseunet.tasks import decathlon
from experiments.benchmarks.peers import cases, contenders, heats, standings
from experiments.benchmarks.peers.budget import Budget
from experiments.benchmarks.peers.cases import Fold
from experiments.benchmarks.peers.contenders import Contender

CASES = ("case_0", "case_1", "case_2")


@pytest.fixture
def plan(tmp_path):
    data = tmp_path / "Task"
    labels = np.zeros((4, 6, 8), np.uint8)
    labels[:, :2], labels[:, 2:4] = 1, 2
    for name in CASES:
        for folder in ("imagesTr", "labelsTr"):
            nifti.write_new(data / folder / f"{name}.nii.gz", labels, (1.0, 1.0, 1.0), "RAS")
    described = {"labels": {"0": "nothing", "1": "head", "2": "tail"}, "modality": {"0": "MRI"}}
    (data / "dataset.json").write_text(json.dumps(described))
    task = decathlon.read_task(data)
    folds = {0: Fold((), CASES)}
    core = min(os.sched_getaffinity(0))
    known = cases.labelled(data, task)
    return heats.Plan(data, known, task, folds, [Budget(60, "s")], (0,), core, tmp_path / "work")


def copier(name, wrong=0, status=0, **options):
    """A contender that copies the truth, for some cases that of an image without a tail."""

    def commands(heat):
        heat.output.mkdir(exist_ok=True)
        for number, case in enumerate(heat.test):
            source = heat.cases[case].labels
            if number < wrong:
                labels = nifti.read_labels(source, decathlon.task_of(heat.data))
                nifti.write_labels(
                    heat.output / source.name, labels.array_DHW * (labels.array_DHW == 1), labels.grid
                )
            else:
                shutil.copy(source, heat.output)
        yield "prepare", [sys.executable, "-c", "print('prepared')"]
        (heat.folder / f"left {len(list(heat.folder.glob('left *')))}").write_text(str(heat.left()))
        yield "train", [sys.executable, "-c", f"print('3 steps'); raise SystemExit({status})"]

    return Contender(name, commands, **options)


def test_dice_and_time_are_those_of_the_labels(plan):
    lines = []
    results = heats.run(plan, [copier("right"), copier("wrong", wrong=2)], lines.append)
    assert [standings.mean(result) for result in results] == [1.0, pytest.approx(2 / 3)]
    assert results[1]["dice"]["case_0"] == {"head": 1.0, "tail": 0.0}
    assert results[0]["said"] == "3 steps"
    assert results[0]["seconds"] == pytest.approx(sum(results[0]["stages"].values()))
    assert results[0]["host_bytes"] > 2**20
    assert [line.partition(":")[0] for line in lines] == [
        "right 1 min, fold 0, seed 0",
        "wrong 1 min, fold 0, seed 0",
    ]
    # What is done is not run again.
    assert heats.run(plan, [copier("right", status=1)], lines.append) == results[:1]


def test_a_heat_of_an_older_form_is_not_run_again(plan):
    (result,) = heats.run(plan, [copier("right")], [].append)
    older = {name: value for name, value in result.items() if name != "budget"} | {"minutes": 1.0}
    files.write_json(plan.folder / "right 1 min, fold 0, seed 0.json", older)
    assert heats.run(plan, [copier("right", status=1)], [].append) == [result]


@pytest.mark.parametrize("resumes", [True, False])
def test_a_heat_that_was_stopped_goes_on_if_it_can(plan, resumes):
    with pytest.raises(InputError, match=r"status 3: prepared|status 3: 3 steps") as error:
        heats.run(plan, [copier("failing", status=3, resumes=resumes)], print)
    assert error.value.where.endswith("train.log")
    folder = plan.folder / "failing 1 min, fold 0, seed 0"
    first = files.read_json(folder / "stages.json")["stages"]
    assert (first["prepare"]["done"], first["train"]["done"]) == (True, False)
    (result,) = heats.run(plan, [copier("failing", resumes=resumes)], print)
    # What is left for training is what was left the first time: only whole stages are taken off.
    left = [float(path.read_text()) for path in sorted(folder.glob("left *"))]
    assert left == [60 - result["stages"]["prepare"]] * (2 if resumes else 1)
    if resumes:
        assert result["stages"]["prepare"] == first["prepare"]["seconds"]
        assert result["stages"]["train"] > first["train"]["seconds"]


def test_steps_have_no_end_in_time(plan):
    plan = plan._replace(budgets=[Budget(20, "steps")], core=None)
    (result,) = heats.run(plan, [copier("right", measured=lambda heat: {"steps": str(heat.left())})], print)
    assert (result["budget"], result["steps"]) == ("20steps", "inf")


def test_a_core_and_a_prediction_that_are_not_there(plan):
    with pytest.raises(InputError, match="--core"):
        heats.run(plan._replace(core=10**6), [], print)
    with pytest.raises(InputError, match=r"case_0\.nii\.gz.*(?s:.)*no such file"):
        heats.run(plan, [Contender("idle", lambda heat: iter(()))], print)


def test_a_voxel_that_counts_nowhere_changes_no_dice(plan, tmp_path):
    labels = np.zeros((4, 6, 8), np.uint8)
    labels[:, :2], labels[:, 4:] = 1, 3
    described = {
        "labels": {"background": 0, "head": 1, "tail": 2, "ignore": 3},
        "channel_names": {"0": "MRI"},
    }
    for name in CASES:
        nifti.write_new(plan.data / "labelsTr" / f"{name}.nii.gz", labels, (1.0, 1.0, 1.0), "RAS")
    (plan.data / "dataset.json").write_text(json.dumps(described))
    task = decathlon.read_task(plan.data)
    predicted = np.where(labels == 3, 1, labels).astype(np.uint8)
    for name in CASES:
        nifti.write_new(tmp_path / "predictions" / f"{name}.nii.gz", predicted, (1.0, 1.0, 1.0), "RAS")
    heat = contenders.Heat(plan.data, plan.cases, (), CASES, plan.budgets[0], 0, tmp_path, lambda: 0.0)
    scores = heats.scores_of(heat, dataclasses.replace(task, detect=("head",)))
    assert scores["dice"]["case_0"] == {"head": 1.0, "tail": 1.0}
    # What the prediction says of voxels that do not count, is no voxel and no piece of it.
    sides = ("prediction", "reference", "intersection")
    assert scores["voxels"]["case_0"]["head"] == dict.fromkeys(sides, 64)
    assert scores["pieces"]["case_0"] == {
        "head": {"found": 1, "missed": 0, "true_prediction": 1, "false_prediction": 0}
    }


def test_a_peers_python_without_the_peer_is_named():
    assert contenders.peer_versions("--monai", None, "monai") == {}
    with pytest.raises(InputError, match=r"(?s)--monai.*pip install torch nibabel monai"):
        contenders.peer_versions("--monai", sys.executable, "monai")


@pytest.mark.parametrize(
    ("budget", "core", "changed", "part"),
    [
        (Budget(20, "steps"), 0, {}, "in seconds alone"),
        (Budget(20, "s"), None, {}, "no --core"),
        (Budget(20, "s"), 0, {"ignore_label": 3}, "a label that counts nowhere"),
    ],
)
def test_what_peers_cannot_take_part_in(plan, monkeypatch, budget, core, changed, part):
    monkeypatch.setattr(contenders, "peer_versions", lambda *_: {})
    task = dataclasses.replace(plan.task, **changed)
    with pytest.raises(InputError, match=part):
        contenders.peers(plan.cases, task, [budget], core, "python", None)
    series = {"a": dataclasses.replace(plan.cases["case_0"], images=(plan.data,))}
    with pytest.raises(InputError, match="NIfTI files"):
        contenders.peers(series, plan.task, [Budget(20, "s")], 0, "python", None)
    (peer,), _ = contenders.peers(plan.cases, plan.task, [Budget(20, "s")], 0, None, "python")
    assert peer.name == "nnU-Net" and not peer.resumes
