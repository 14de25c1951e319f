"""A task in one file, from its scans to its scores: two channels of MR, two regions that overlap."""

import json
import re

import nibabel
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.base import base_config, in_order, phase
from dsdenseunet.data.cache import Cache
from dsdenseunet.data.preparation import prepare
from dsdenseunet.data.scans.layouts import find_cases
from dsdenseunet.evaluation.folder import evaluate
from dsdenseunet.inference.folder import predict_folder
from dsdenseunet.inference.predict import Predictor
from dsdenseunet.inference.scans import find_scans
from dsdenseunet.models import registry
from dsdenseunet.reporting.score_page import write_score_page
from dsdenseunet.tasks.task import Task
from dsdenseunet.training import cascade
from dsdenseunet.training.checkpoint import load_best
from tests.training.tiny import TinyNet

TASK = {
    "name": "toy",
    "classes": ("background", "shell", "kernel"),
    "regions": (("whole", (1, 2)), ("kernel", (2,))),
    "channels": (("T1", "zscore"), ("T2", "percentiles", 1.0, 99.0)),
    "ignore_label": -1,
    "stratify_by": "kernel",
    "select_by": ("whole",),
    "detect": ("kernel",),
    "clean_up": (("largest", "whole"),),
    "spacing_mm": (),
}
SHAPE = (18, 17, 16)


def get_config() -> ConfigDict:
    config = base_config()
    config.name = "toy"
    config.task = ConfigDict(TASK)
    config.model.in_channels = 2
    config.loss.cross_entropy.class_weights = (1.0, 1.0, 1.0)
    config.optimizer.learning_rate = 0.5
    config.optimizer.lr_floor = 0.0
    # Larger than a case along one axis.
    config.data.patch_size = (16, 16, 20)
    config.data.batch_size = 2
    config.data.folds = 2
    config.phases = in_order(only=phase(2))
    config.training.steps_per_epoch = 8
    config.training.validate_epochs = 1
    config.training.validate_patches = 0
    config.inference.overlap = 0.0
    return config


def write_scans(folder):
    """Nested balls in noise, in two channels of a scale that 16 bits cannot hold."""
    rng = np.random.default_rng(0)
    affine = np.diag([1.5, 1.0, 1.0, 1.0])
    for number in range(4):
        centre = rng.uniform(7, 10, 3)
        distance = np.linalg.norm(np.stack(np.indices(SHAPE), -1) - centre, axis=-1)
        labels = (distance < 6).astype(np.uint8) + (distance < 3)
        noise = rng.normal(0, 0.2, (*SHAPE, 2))
        image = (np.stack([labels, labels == 1], -1) + noise) * (1e5, 1e-3) + (3e5, 0.5)
        for kind, array in (("imagesTr", image.astype(np.float32)), ("labelsTr", labels)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, affine), folder / kind / f"toy_{number}.nii.gz")
    return folder


def split_channels(data, folder):
    """The scans with a file for each channel, as nnU-Net has them."""
    (folder / "imagesTr").mkdir(parents=True)
    for path in (data / "imagesTr").iterdir():
        volume = nibabel.load(path)
        for number, channel in enumerate(np.moveaxis(np.asanyarray(volume.dataobj), -1, 0)):
            name = path.name.replace(".nii", f"_{number:04d}.nii")
            nibabel.save(nibabel.Nifti1Image(channel, volume.affine), folder / "imagesTr" / name)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_scans(tmp_path_factory.mktemp("toy"))


def test_from_scans_to_scores(data, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "build", lambda model: TinyNet(in_channels=model["in_channels"]))
    config, task = get_config(), Task.of(TASK)

    rows = prepare(find_cases(data).used, tmp_path / "cache", task=task)
    assert [row.status for row in rows] == ["new"] * 4
    cache = Cache.open(tmp_path / "cache")
    assert cache.task == task
    case = cache.case("toy_0")
    assert (case.image_DHW.shape, case.image_DHW.dtype) == ((*SHAPE[::-1], 2), np.float32)
    stored = nibabel.load(data / "imagesTr/toy_0.nii.gz").get_fdata(dtype=np.float32)
    np.testing.assert_array_equal(np.sort(case.image_DHW, axis=None), np.sort(stored, axis=None))
    assert case.statistics[0] == pytest.approx((stored[..., 0].mean(), stored[..., 0].std()), rel=1e-4)

    config.data.cache = str(tmp_path / "cache")
    workdir = tmp_path / "run"
    cascade.run(config, workdir)
    cascade.run(config, workdir, extend_to=4)
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 33))
    validations = [line["validation"] for line in lines if "validation" in line]
    assert all(set(line) == {"whole_dice", "kernel_dice", "mean_dice"} for line in validations)
    assert all(line["mean_dice"] == line["whole_dice"] for line in validations)

    stored_config, variables = load_best(workdir)
    predictor = Predictor.of(stored_config, registry.build(stored_config.model), variables)
    scans = find_scans(data / "imagesTr", tmp_path / "predictions").used
    assert len(predict_folder([predictor], scans, tmp_path / "predictions").done) == 4
    # What is predicted for a file is what was validated in the cache.
    predicted = nibabel.load(tmp_path / "predictions/toy_0.nii.gz")
    assert predicted.shape == SHAPE
    labels_DHW = predictor.segment(case.image_DHW, case.spacing_mm, statistics=case.statistics)
    assert np.count_nonzero(labels_DHW) == np.count_nonzero(np.asarray(predicted.dataobj))

    # A file for each channel says the same; a scan without its second one fails alone.
    split = split_channels(data, tmp_path / "split")
    (split / "imagesTr/toy_3_0001.nii.gz").unlink()
    scans = find_scans(split, tmp_path / "of_split", channels=2).used
    outcome = predict_folder([predictor], scans, tmp_path / "of_split")
    assert sorted(outcome.done) == ["toy_0", "toy_1", "toy_2"]
    (failure,) = outcome.failures
    assert "toy_3_0001.nii.gz" in failure.message and "toy_3_0000.nii.gz" in failure.message
    again = nibabel.load(tmp_path / "of_split/toy_0.nii.gz")
    np.testing.assert_array_equal(np.asarray(again.dataobj), np.asarray(predicted.dataobj))
    np.testing.assert_array_equal(again.affine, predicted.affine)

    result = evaluate(
        tmp_path / "predictions", data / "labelsTr", tmp_path / "scores", images=split, task=task
    )
    assert all("_0000" in paths["image"] for paths in result["files"].values())
    scores = result["modes"]["regions"]["scores"]
    assert scores["mean_dice"] == scores["whole_dice"] > 0.8
    assert {"whole_hd95_mm", "kernel_recall"} <= set(scores)
    page = write_score_page(tmp_path / "scores").read_text()
    assert "kernel Dice" in page
    assert not re.search("liver|tumour|LiTS", page)


def test_another_task_s_cache_is_refused_by_name(data, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "build", lambda model: TinyNet(in_channels=model["in_channels"]))
    prepare(find_cases(data).used, tmp_path / "cache", task=Task.of(TASK))
    config = get_config()
    config.data.cache = str(tmp_path / "cache")
    config.task.channels = (("T1", "zscore"), ("T2", "zscore"))
    with pytest.raises(Exception, match="T2 percentiles 1 99") as error:
        cascade.run(config, tmp_path / "run")
    assert "T2 zscore" in error.value.expected
    assert not (tmp_path / "run").exists()
    with pytest.raises(Exception, match="a cache of task 'toy'"):
        prepare(find_cases(data).used, tmp_path / "cache")


def test_other_channels_than_the_task_s_fail_their_case_alone(data, tmp_path):
    one = Task.of({**TASK, "channels": (("T1", "zscore"),)})
    rows = prepare(find_cases(data).used[:1], tmp_path / "cache", task=one)
    assert "18 x 17 x 16 x 2" in rows[0].error
    three = Task.of({**TASK, "channels": (*TASK["channels"], ("T3", "none"))})
    assert (
        "a 4D volume of 3 channels" in prepare(find_cases(data).used[:1], tmp_path / "c", task=three)[0].error
    )
