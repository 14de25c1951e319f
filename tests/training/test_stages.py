"""Two networks one after the other, each by itself a run: trained, gone on with, predicted, scored."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import cascades
from configs.base import base_config, in_order, phase
from dsdenseunet.core.errors import InputError
from dsdenseunet.cross_validation import runs
from dsdenseunet.data.cache import Cache
from dsdenseunet.evaluation.folder import evaluate
from dsdenseunet.evaluation.overlap import count, dice
from dsdenseunet.inference.folder import predict_folder
from dsdenseunet.inference.scans import find_scans
from dsdenseunet.models import registry
from dsdenseunet.tasks.lits import TASK
from dsdenseunet.tasks.part import part_of
from dsdenseunet.training import cascade, stages, trained
from dsdenseunet.training.checkpoint import load_best
from dsdenseunet.training.interruption import Interrupted
from tests.training.test_logs import read_lines
from tests.training.toy_network import ToyNetwork


def toy(regions: tuple[str, ...], within: str = "", margin_mm: float = 0.0) -> ConfigDict:
    """A stage of one phase of some steps, after which it has seen the bright from the dark."""
    config = base_config()
    config.task = ConfigDict(part_of(TASK, regions).to_config())
    config.model = {
        "family": "toy",
        "in_channels": 1,
        "num_classes": 2,
        "features": 4,
        "auxiliary_outputs": 0,
    }
    config.loss.focal.class_weights, config.loss.cross_entropy.class_weights = (1.0, 1.0), (0.2, 4.0)
    config.optimizer.name, config.optimizer.learning_rate = "adam", 0.05
    config.data.patch_size, config.data.batch_size = (4, 32, 32), 2
    config.data.centre_share, config.data.augment_on_device = (0.5, 0.5), False
    config.data.prefetch = 1
    config.phases = in_order(train=phase(1))
    config.training.steps_per_epoch = 8
    config.training.validate_patches = 0
    config.inference.overlap = 0.0
    del config.name, config.seed
    for field in cascades._COMMON:
        del config.data[field]
    config.within, config.margin_mm = within, margin_mm
    return config


@pytest.fixture
def config(cache: Path, monkeypatch: pytest.MonkeyPatch) -> ConfigDict:
    monkeypatch.setitem(registry.FAMILIES, "toy", ToyNetwork)
    config = cascades.cascade("toy", liver=toy(("liver",)), tumour=toy(("tumour",), "liver", 3.0))
    config.data.cache = str(cache)
    config.data.explicit.train, config.data.explicit.validation = ("volume-0", "volume-1"), ("volume-2",)
    config.stages.tumour.inference.thresholds = (0.2,)
    return config


def test_from_cases_to_scores_by_one_command_each(config: ConfigDict, cache: Path, tmp_path: Path):
    workdir = tmp_path / "run"
    cascade.run(config, workdir)
    first = (workdir / "liver" / "metrics.jsonl").read_text()
    # The same command goes on: what is finished stays, what has more to do does it.
    config.stages.tumour.phases.train.epochs = 2
    cascade.run(config, workdir)
    assert (workdir / "liver" / "metrics.jsonl").read_text() == first
    lines = read_lines(workdir / "tumour" / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 17))

    # Each stage is a run on cases of its own.
    liver, tumour = (load_best(workdir / name)[0] for name in ("liver", "tumour"))
    assert (liver.name, tumour.name) == ("cascades:toy.liver", "cascades:toy.tumour")
    whole, boxes = Cache.open(cache), Cache.open(tumour.data.cache)
    assert boxes.record("volume-0").shape < whole.record("volume-0").shape
    assert boxes.record("volume-0").label_counts[1] == whole.record("volume-0").label_counts[2]

    data = Path(whole.record("volume-0").images[0].path).parent
    networks = trained.load([str(workdir)])
    assert "liver and then tumour" in networks.in_words and len(networks.configs) == 2
    scans = find_scans(data).used
    outcome = predict_folder([networks.segmenter], scans, tmp_path / "predictions")
    assert len(outcome.done) == 3 and not outcome.failures
    scores = evaluate(tmp_path / "predictions", data, tmp_path / "scores", task=TASK)["modes"]
    assert set(scores) == {"official", "corrected"}
    # The same cascade twice is averaged stage by stage, and is itself.
    twice = trained.load([str(workdir), str(workdir)]).segmenter
    image = whole.case("volume-2").image_DHW
    spacing_mm = whole.record("volume-2").spacing_mm
    labels = networks.segmenter.segment(image, spacing_mm)
    assert set(np.unique(labels)) == {0, 1, 2}
    assert dice(count(labels > 0, np.asarray(whole.case("volume-2").labels_DHW) > 0)) > 0.3
    np.testing.assert_array_equal(twice.segment(image, spacing_mm), labels)

    # Elsewhere a stage that has begun must not look.
    config.stages.tumour.margin_mm = 4.0
    with pytest.raises(InputError, match="stages that have begun"):
        cascade.run(config, workdir)
    assert json.loads((workdir / "stages.json").read_text())["stages"][1]["margin_mm"] == 3.0
    with pytest.raises(InputError, match="several stages"):
        load_best(workdir)
    with pytest.raises(InputError, match="a run of one network"):
        trained.load([str(workdir), str(workdir / "liver")])


@pytest.mark.parametrize(
    ("field", "value", "where", "expected"),
    [
        ("stages.order", ("tumour", "liver"), "stages.tumour.within", "there is none"),
        ("stages.order", ("liver",), "stages.order", "each of liver, tumour once"),
        ("stages.tumour.within", "spleen", "stages.tumour.within", r"an earlier stage \(liver\)"),
        ("stages.tumour.margin_mm", -1.0, "stages.tumour.margin_mm", ">= 0"),
        ("stages.tumour.optimizer.name", "lbfgs", "stages.tumour.optimizer.name", "sgd"),
        ("stages.tumour.task.spacing_mm", (1.0, 1.0, 1.0), "stages.tumour.task.spacing_mm", r"\(\)"),
        (
            "stages.tumour.task.classes",
            ("background", "spleen"),
            "stages.tumour.task.classes",
            "liver, tumour",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    config: ConfigDict, tmp_path: Path, field: str, value: object, where: str, expected: str
):
    config.update_from_flattened_dict({field: value})
    with pytest.raises(InputError, match=expected) as error:
        cascade.run(config, tmp_path / "run")
    assert where in error.value.where
    assert not (tmp_path / "run").exists()


def test_what_all_stages_have_in_common_is_said_once(config: ConfigDict, tmp_path: Path):
    config.stages.liver.data.cache = "elsewhere"
    with pytest.raises(InputError, match=r"config.data.cache, of all stages"):
        stages.check(config)
    del config.stages.liver.data.cache
    with pytest.raises(InputError, match=r"--config\.stages\.tumour\.phases\.PHASE\.epochs=5"):
        cascade.run(config, tmp_path / "run", extend_to=5)


def test_a_cascade_has_folds_and_seeds(config: ConfigDict, tmp_path: Path):
    config.data.explicit.train = config.data.explicit.validation = ()
    config.data.folds = 3
    asked = runs.of_command(config, tmp_path, "all", 2)
    assert [run.workdir.name for run in asked] == ["seed0", "seed1"] * 3
    assert sorted(name for names in runs.held_out(asked).values() for name in names) == [
        f"volume-{number}" for number in range(3)
    ]
    assert stages.config_of(asked[-1].config, "tumour").seed == 1
    (run,) = runs.of_command(config, tmp_path, budget_hours=1.0)
    assert [run.config.stages[name].training.budget_seconds for name in ("liver", "tumour")] == [1800] * 2


def test_a_signal_between_two_stages_ends_the_cascade(
    config: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def ended(phase, stop, start):
        stop.signal_number = signal.SIGTERM

    monkeypatch.setattr(cascade, "run_phase", ended)
    with pytest.raises(Interrupted, match="the end of stage liver") as stopped:
        cascade.run(config, tmp_path / "run")
    assert stopped.value.exit_status == 128 + signal.SIGTERM
    assert not (tmp_path / "run" / "tumour").exists()


def test_a_stage_without_cases_to_validate_on_is_named(
    config: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of a region that only the training cases have."""
    monkeypatch.setattr(cascade, "run_phase", lambda *_: None)
    derive = cascade.stage_cache.derive

    def without_the_last(whole, root, names, part, task, within, margin_mm):
        return derive(whole, root, names[:2] if within else names, part, task, within, margin_mm)

    monkeypatch.setattr(cascade.stage_cache, "derive", without_the_last)
    with pytest.raises(InputError, match="liver in no case to train on, or in none to validate on") as error:
        cascade.run(config, tmp_path / "run")
    assert error.value.where == "config.stages.tumour.within"
