"""Runs with `TinyNet` in this process: phases, and the weights that start them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.cache import Cache
from dsdenseunet.models import registry
from dsdenseunet.training import cascade, loop
from dsdenseunet.training.checkpoint import BestRecord, Checkpoints, load_best
from dsdenseunet.training.failure import NonFiniteLossError
from tests.training import tiny
from tests.training.test_logs import read_lines

PHASES = ("phase1", "phase2")


pytestmark = pytest.mark.usefixtures("tiny_network")


def test_files_of_a_run(reference: Path):
    assert {path.name for path in reference.iterdir()} == {
        ".lock",
        "config.json",
        "first_batch.png",
        "metrics.jsonl",
        "phase1",
        "phase2",
        "provenance.json",
        "tensorboard",
    }
    for phase in PHASES:
        assert [path.name for path in (reference / phase / "latest").iterdir()] == ["4"]
        assert len(list((reference / phase / "best").iterdir())) == 1
    lines = read_lines(reference / "metrics.jsonl")
    assert [(line["phase"], line["step"]) for line in lines if "loss" in line] == [
        (phase, step) for phase in PHASES for step in (1, 2, 3, 4)
    ]
    assert sum("validation" in line for line in lines) == 4


def test_provenance(reference: Path):
    (start,) = json.loads((reference / "provenance.json").read_text())["starts"]
    assert start["config"]["name"] == "tiny"
    assert {"jax", "jaxlib", "flax", "orbax-checkpoint", "grain", "numpy", "python"} <= start[
        "versions"
    ].keys()
    assert start["hardware"]["backend"] == "cpu"
    assert len(start["data_sha256"]) == 64
    assert {"commit", "uncommitted_changes_sha256", "command", "started"} <= start.keys()


def test_phases_draw_different_batches(reference: Path):
    first = [line["loss"] for line in read_lines(reference / "metrics.jsonl") if "loss" in line]
    assert not set(first[:4]) & set(first[4:])


def test_phases_draw_different_dropout(reference: Path):
    drawn = [
        {
            tuple(np.asarray(jax.random.fold_in(tiny.final_arrays(reference, phase)["['key']"], step)))
            for step in range(4)
        }
        for phase in PHASES
    ]
    assert len(drawn[0] | drawn[1]) == 8


def test_best_weights_are_those_of_the_best_validation(reference: Path):
    scores = {
        line["epoch"]: line["validation"]["mean_dice"]
        for line in read_lines(reference / "metrics.jsonl")
        if "validation" in line and line["phase"] == "phase2"
    }
    checkpoints = Checkpoints(reference, "phase2", tiny.get_config())
    record = checkpoints.best_record()
    checkpoints.close()
    assert isinstance(record, BestRecord)
    assert record.selection == max(scores.values())
    assert record.epoch == min(epoch for epoch, score in scores.items() if score == record.selection)


def test_load_best_prefers_phase_two_and_gives_its_config(reference: Path, cache: Path):
    config, variables = load_best(reference)
    assert config.data.cache == str(cache)
    assert config.data.patch_size == (4, 32, 32)
    np.testing.assert_equal(variables, load_best(reference, "phase2")[1])
    assert set(variables) == {"params", "batch_stats"}


def test_load_best_of_nothing(tmp_path: Path):
    with pytest.raises(InputError, match="no best weights of phase2"):
        load_best(tmp_path, "phase2")


def test_phases_one_after_the_other_equal_both_at_once(config: ConfigDict, reference: Path, tmp_path: Path):
    config.training.phase = "phase1"
    cascade.run(config, tmp_path)
    assert not (tmp_path / "phase2").exists()
    config.training.phase = "phase2"
    cascade.run(config, tmp_path)
    np.testing.assert_equal(tiny.final_arrays(tmp_path), tiny.final_arrays(reference))


def test_phase_two_alone_needs_weights(config: ConfigDict, reference: Path, tmp_path: Path):
    config.training.phase = "phase2"
    with pytest.raises(InputError, match="no best weights of phase1"):
        cascade.run(config, tmp_path / "without")
    config.phases.phase2.start = str(reference)
    cascade.run(config, tmp_path / "with")
    assert (tmp_path / "with" / "phase2" / "best").is_dir()


def test_every_case_may_train_where_nothing_is_chosen(
    config: ConfigDict, cache: Path, tmp_path: Path, capsys
):
    config.data.explicit.train, config.data.explicit.validation = Cache.open(cache).names, ()
    config.training.validate_epochs = 0
    config.training.phase = "phase1"
    cascade.run(config, tmp_path)
    assert not any("validation" in line for line in read_lines(tmp_path / "metrics.jsonl"))
    assert "its last weights, which no case has validated" in capsys.readouterr().out
    last, (_, taken) = tiny.final_arrays(tmp_path, "phase1"), load_best(tmp_path)
    np.testing.assert_array_equal(taken["params"]["Conv_0"]["kernel"], last["['params']['Conv_0']['kernel']"])


def test_validation_case_is_chosen_by_fold(config: ConfigDict, cache: Path):
    config.data.explicit.train = config.data.explicit.validation = ()
    config.data.folds = 3
    seen = set()
    for fold in range(3):
        config.data.fold = fold
        train, validation = cascade.split(config, Cache.open(cache))
        assert len(train) == 2
        assert len(validation) == 1
        assert not set(train) & set(validation)
        seen.update(validation)
    assert seen == {"volume-0", "volume-1", "volume-2"}


def test_unknown_case_is_refused_before_anything_is_written(config: ConfigDict, tmp_path: Path):
    config.data.explicit.train = ("volume-7",)
    with pytest.raises(InputError, match="volume-7"):
        cascade.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_non_finite_loss_names_step_and_cases_and_leaves_state_and_batch(
    config: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # A batch of whole numbers cannot hold a NaN.
    config.data.augment_on_device = False
    real = loop.make_training_iterator

    def poisoned(*arguments, **named):
        iterator = real(*arguments, **named)
        following = type(iterator).__next__

        class Poisoned(type(iterator)):
            def __next__(self):
                batch = following(self)
                if self.get_state()["next_batch"] == 3:
                    batch["image"] = batch["image"].copy()
                    batch["image"][0, 0, 0, 0] = np.nan
                return batch

        iterator.__class__ = Poisoned
        return iterator

    monkeypatch.setattr(loop, "make_training_iterator", poisoned)
    with pytest.raises(NonFiniteLossError, match=r"phase1, step 3: .*not finite") as error:
        cascade.run(config, tmp_path)
    assert "volume-" in str(error.value)
    report = json.loads((tmp_path / "failure" / "report.json").read_text())
    assert report["step"] == 3
    assert set(report["cases"]) <= {"volume-0", "volume-1"}
    assert report["non_finite_in_batch"] == ["image"]
    assert report["non_finite_in_state"] == []
    with np.load(tmp_path / "failure" / "state.npz") as state:
        assert state["step"] == 2
    with np.load(tmp_path / "failure" / "batch.npz") as batch:
        assert np.isnan(batch["image"]).sum() == 1

    # The next start goes on from the checkpoint of step 2.
    monkeypatch.undo()
    monkeypatch.setattr(registry, "build", tiny.build_tiny)
    cascade.run(config, tmp_path)
    assert len(read_lines(tmp_path / "metrics.jsonl")) == 14


def test_signal_during_validation_saves_and_validates_after_the_restart(
    config: ConfigDict, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from dsdenseunet.training.interruption import Interrupted

    def interrupted_validation(config, state, cache, names, stop):
        import signal

        signal.raise_signal(signal.SIGTERM)
        assert stop()

    with monkeypatch.context() as patch:
        patch.setattr(loop, "validate", interrupted_validation)
        with pytest.raises(Interrupted) as error:
            cascade.run(config, tmp_path)
        assert error.value.exit_status == 143
        assert "phase1, step 2" in str(error.value)
    cascade.run(config, tmp_path)
    for phase in PHASES:
        np.testing.assert_equal(tiny.final_arrays(tmp_path, phase), tiny.final_arrays(reference, phase))
        np.testing.assert_equal(load_best(tmp_path, phase)[1], load_best(reference, phase)[1])
    assert len(read_lines(tmp_path / "metrics.jsonl")) == 14


def test_a_cache_of_other_classes_is_refused(config: ConfigDict, tmp_path: Path):
    copy = Path(shutil.copytree(config.data.cache, tmp_path / "cache"))
    config.data.cache = str(copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    for case in manifest["cases"]:
        # With two classes, tumours would be taken for nothing.
        case["label_counts"] = case["label_counts"][:2]
        counts = copy / case["name"] / "counts.npy"
        np.save(counts, np.ascontiguousarray(np.load(counts)[:, :2]))
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="was prepared with 2 classes"):
        cascade.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
