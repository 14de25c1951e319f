"""A race of programs that write what they are told: their time, their Dice, and what is not run again."""

import json
import os
import shutil
import sys

import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti
from dsdenseunet.tasks import decathlon
from experiments.benchmarks.peers import contenders, race
from experiments.benchmarks.peers.contenders import Contender
from experiments.benchmarks.publishing import race_tables

CASES = ("case_0", "case_1", "case_2")
FOLDS = {0: {"train": (), "val": CASES}}


@pytest.fixture
def plan(tmp_path):
    data = tmp_path / "Task"
    labels = np.zeros((4, 6, 8), np.uint8)
    labels[:, :2], labels[:, 2:4] = 1, 2
    for name in CASES:
        nifti.write_new(data / "labelsTr" / f"{name}.nii.gz", labels, (1.0, 1.0, 1.0), "RAS")
    described = {"labels": {"0": "nothing", "1": "head", "2": "tail"}, "modality": {"0": "MRI"}}
    (data / "dataset.json").write_text(json.dumps(described))
    core = min(os.sched_getaffinity(0))
    return race.Plan(data, FOLDS, (1.0,), (0,), core, tmp_path / "race")


def copier(name, wrong=0, status=0):
    """A contender that copies the truth, for some cases that of an image without a tail."""

    def commands(heat):
        heat.output.mkdir()
        for number, case in enumerate(heat.test):
            source = heat.data / "labelsTr" / f"{case}.nii.gz"
            if number < wrong:
                labels = nifti.read_labels(source, decathlon.task_of(heat.data))
                nifti.write_labels(
                    heat.output / source.name, labels.array_DHW * (labels.array_DHW == 1), labels.grid
                )
            else:
                shutil.copy(source, heat.output)
        assert 0 < heat.left() <= 60
        yield "train", [sys.executable, "-c", f"print('3 steps'); raise SystemExit({status})"]

    return Contender(name, commands, {})


def test_dice_and_lead_are_those_of_the_labels(plan):
    lines = []
    results = race.run(plan, [copier("right"), copier("wrong", wrong=2)], lines.append)
    assert [race_tables.mean(result) for result in results] == [1.0, pytest.approx(2 / 3)]
    assert results[1]["dice"]["case_0"] == {"head": 1.0, "tail": 0.0}
    assert results[0]["said"] == "3 steps" and results[0]["seconds"] >= results[0]["stages"]["train"] > 0
    (lead,) = race.compared(results, "right")
    assert lead["value"] == pytest.approx(1 / 3) and lead["cases"] == 3
    assert 0 <= lead["low"] <= lead["value"] <= lead["high"] <= 0.5
    right, wrong = race.scored(results)
    assert right["dice"]["mean"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert wrong["dice"]["head"]["value"] == 1.0 and wrong["dice"]["tail"]["value"] == pytest.approx(1 / 3)
    table = race_tables.standings({"scored": [right, wrong], "compared": [lead]})
    assert "+0.333" in table and "head" in table
    # What is done is not run again.
    assert race.run(plan, [copier("right", status=1)], lines.append) == results[:1]


def test_folds_are_pooled_and_seeds_are_averaged_by_case(plan):
    folds = {3: {"train": (), "val": CASES[:2]}, 4: {"train": (), "val": CASES[2:]}}
    plan = plan._replace(folds=folds, seeds=(5, 6))
    results = race.run(plan, [copier("right"), copier("wrong", wrong=1)], [].append)
    assert [(result["fold"], result["seed"]) for result in results[::2]] == [(3, 5), (3, 6), (4, 5), (4, 6)]
    # Of a second seed that segmented everything.
    results[3] = {**results[3], "dice": results[2]["dice"]}
    right, wrong = race.scored(results)
    assert (right["folds"], right["seeds"], right["cases"]) == ([3, 4], [5, 6], 3)
    assert wrong["dice"]["tail"]["value"] == pytest.approx((0.5 + 1 + 0) / 3)
    # A fold that only one of them has run is not compared.
    (lead,) = race.compared([r for r in results if r["contender"] == "right" or r["fold"] == 4], "right")
    assert lead["cases"] == 1 and lead["value"] == pytest.approx(0.5) and lead["low"] is None


def test_a_contender_that_fails_ends_the_race_with_what_it_said(plan):
    with pytest.raises(InputError, match=r"status 3: 3 steps") as error:
        race.run(plan, [copier("failing", status=3)], print)
    assert error.value.where.endswith("train.log")


def test_a_fold_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "folds.json"
    path.write_text(json.dumps([{"train": ["a"], "val": ["b"]}]))
    assert contenders.fold(str(path), 0) == {"train": ("a",), "val": ("b",)}
    with pytest.raises(InputError, match="no fold 1"):
        contenders.fold(str(path), 1)


def test_a_peers_python_without_the_peer_is_named():
    assert contenders.peer_versions("--monai", None, "monai") == {}
    with pytest.raises(InputError, match=r"(?s)--monai.*pip install torch nibabel monai"):
        contenders.peer_versions("--monai", sys.executable, "monai")
