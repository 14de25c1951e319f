"""What is refused before anything runs: budgets, configs, folds."""

import json
from pathlib import Path

import pytest

from configs import cascades
from configs.base import in_order, phase
from dsdenseunet.core.errors import InputError
from dsdenseunet.training import stages
from experiments.benchmarks.peers import cases, entries
from experiments.benchmarks.peers.budget import Budget
from tests.documents import ROOT
from tests.training import tiny

DEMO = str(ROOT / "configs/demo.py")


@pytest.mark.parametrize("text", ["300s", "1.5s", "2000steps", "64000images"])
def test_a_budget_is_written_as_it_is_read(text):
    assert Budget.parse(text).text == text


@pytest.mark.parametrize("text", ["", "300", "0s", "-1s", "2.5steps", "5epochs", "s", "1e3steps"])
def test_what_is_no_budget(text):
    with pytest.raises(InputError, match="--budget"):
        Budget.parse(text)


def config_of(**epochs):
    """Ten steps of two patches an epoch."""
    config = tiny.get_config()
    config.training.steps_per_epoch = 10
    config.phases = in_order(**{name: phase(number) for name, number in epochs.items()})
    return config


def test_steps_and_images_become_epochs_in_the_configs_proportions():
    config = config_of(one=100, two=1000)
    one, two = "phases.one.epochs", "phases.two.epochs"
    assert Budget(1100, "steps").epochs(config, "x") == {one: 10, two: 100}
    assert Budget(2200, "images").epochs(config, "x") == {one: 10, two: 100}
    assert Budget(30, "steps").epochs(config, "x") == {one: 1, two: 2}
    assert Budget(20, "steps").epochs(config, "x") == {one: 1, two: 1}
    config.training.phase = "two"
    assert Budget(20, "steps").epochs(config, "x") == {two: 2}


def test_stages_of_a_cascade_share_steps_and_time_by_their_steps():
    config = cascades.get_config("ra_unet")
    # 100, 50 and 60 epochs of 1000 steps.
    config.stages.liver.training.steps_per_epoch = 500
    config.stages.liver.phases.train.epochs = 100
    fields = [f"stages.{stage}.phases.train.epochs" for stage in ("localise", "liver", "tumour")]
    assert Budget(21000, "steps").epochs(config, "x") == dict(zip(fields, (10, 10, 6), strict=True))
    with pytest.raises(InputError, match="--budget=21500steps"):
        Budget(21600, "steps").epochs(config, "x")
    shares = stages.shares_of_time(config, 210.0)
    assert list(shares.values()) == pytest.approx([100, 50, 60])
    assert shares["stages.tumour.training.budget_seconds"] == pytest.approx(60)
    config.update_from_flattened_dict(shares)
    stages.check(config)


@pytest.mark.parametrize(
    ("budget", "fix"), [("25steps", "20steps"), ("10steps", "20steps"), ("50images", "40images")]
)
def test_a_budget_that_is_no_whole_epochs(budget, fix):
    with pytest.raises(InputError, match="a whole number of epochs") as error:
        Budget.parse(budget).epochs(config_of(one=1, two=1), "mine")
    assert f"--budget={fix}" in error.value.fix and "mine" in error.value.found


def test_fields_may_be_set_behind_a_config():
    plain, changed = entries.load_all(f"{DEMO},{DEMO} seed=7 data.batch_size=4", [], 0)
    assert (plain.name, changed.name) == ("demo.py", "demo.py seed=7 data.batch_size=4")
    assert (plain.config.seed, changed.config.seed, changed.config.data.batch_size) == (0, 7, 4)
    assert changed.words == (f"--config={DEMO}", "--config.seed=7", "--config.data.batch_size=4")


def test_a_field_may_be_a_tuple():
    bent, _ = entries.load_all(f"{DEMO} data.patch_size=(6,32,32) seed=7,{DEMO}", [], 0)
    assert (bent.config.data.patch_size, bent.config.seed) == ((6, 32, 32), 7)


def test_variants_of_one_file_need_not_repeat_its_name():
    texts = "hippocampus.py:recipe", "hippocampus.py:standard seed=7"
    found = entries.load_all(f"{ROOT}/configs/{texts[0]},:standard seed=7", [], 0)
    assert [entry.name for entry in found] == list(texts)
    assert [entry.config.model.get("separable", True) for entry in found] == [True, False]


@pytest.mark.parametrize(
    ("texts", "part"),
    [
        ("", "no config"),
        ("configs/absent.py", "absent.py"),
        (f"{DEMO} absent=1", "absent"),
        (f"{DEMO} seed", "seed"),
        (f"{DEMO} data.batch_size=0", "batch_size"),
        (f"{DEMO},{DEMO}", "two configs of this name"),
        (f"{DEMO},{ROOT / 'configs/decathlon.py'}", "different tasks"),
    ],
)
def test_configs_that_cannot_be_compared(texts, part):
    with pytest.raises(InputError, match=part):
        entries.load_all(texts, [], 0)


def test_time_that_does_not_suffice_for_predicting():
    with pytest.raises(InputError, match="kept for predicting"):
        entries.load_all(DEMO, [Budget(20, "s")], 20.0)


def test_a_folder_without_labels(tmp_path):
    (tmp_path / "volume-0.nii").write_bytes(b"")
    with pytest.raises(InputError, match="no labels"):
        cases.labelled(tmp_path, entries.Task.of(tiny.get_config().task))


NAMES = tuple(f"case_{number}" for number in range(10))


def test_folds_are_dealt_without_a_file():
    folds = cases.folds(NAMES, None, range(5))
    assert sorted(name for fold in folds.values() for name in fold.test) == list(NAMES)
    assert all({*fold.train, *fold.test} == set(NAMES) for fold in folds.values())
    with pytest.raises(InputError, match="--fold=5"):
        cases.folds(NAMES, None, [5])


def test_folds_of_a_file(tmp_path: Path):
    path = tmp_path / "folds.json"
    fold = {"train": list(NAMES[:3]), "val": list(NAMES[3:5])}
    path.write_text(json.dumps([fold, {**fold, "val": ["other"]}, {**fold, "train": ["case_0"]}]))
    assert cases.folds(NAMES, str(path), [0]) == {0: (NAMES[:3], NAMES[3:5])}
    for number, part in ((1, "not there: other"), (2, "1 case to train on"), (3, "number 3 is asked for")):
        with pytest.raises(InputError, match=part):
            cases.folds(NAMES, str(path), [number])
