"""Scans of several spacings on one: prepared, trained on, predicted on their own grids, scored there."""

import json

import nibabel
import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data import memory
from dsdenseunet.data.cache import Cache
from dsdenseunet.data.preparation import prepare
from dsdenseunet.data.resampling import Slices
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.layouts import find_cases
from dsdenseunet.evaluation.folder import evaluate
from dsdenseunet.inference.folder import predict_folder
from dsdenseunet.inference.predict import Predictor
from dsdenseunet.inference.scans import find_scans
from dsdenseunet.models import registry
from dsdenseunet.tasks.task import Task
from dsdenseunet.training import cascade
from dsdenseunet.training.checkpoint import load_best
from tests import test_toy_task as toy
from tests.training.tiny import TinyNet

SPACING_MM = (1.5, 1.25, 1.25)
TASK = Task.of({**toy.TASK, "spacing_mm": SPACING_MM})
# Of each scan (D, H, W): thin slices, thick ones, that of the task.
OF_SCANS = [(0.75, 1.0, 1.0), (3.0, 0.8, 0.8), (1.5, 1.25, 1.25), (1.0, 1.0, 2.0)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Nested balls in a box of 24 mm, in files whose axes run otherwise than the cache's."""
    folder = tmp_path_factory.mktemp("spacings")
    rng = np.random.default_rng(0)
    for number, spacing_mm in enumerate(OF_SCANS):
        shape = [round(24 / mm) for mm in spacing_mm]
        places = np.meshgrid(*((np.arange(n) + 0.5) * mm for n, mm in zip(shape, spacing_mm)), indexing="ij")
        distance = np.linalg.norm(np.stack(places, -1) - rng.uniform(11, 13, 3), axis=-1)
        labels = (distance < 8.5).astype(np.uint8) + (distance < 5)
        image = np.stack([labels, labels == 1], -1) + rng.normal(0, 0.2, (*shape, 2))
        # The file's axes point down, right and to the back: (W, H, D) of the cache from (D, W, H).
        affine = np.zeros((4, 4))
        affine[2, 0], affine[0, 1], affine[1, 2] = -spacing_mm[0], spacing_mm[2], -spacing_mm[1]
        affine[:, 3] = (3.0, 4.0, 5.0, 1.0)
        for kind, array in (("imagesTr", image.astype(np.float32)), ("labelsTr", labels)):
            (folder / kind).mkdir(exist_ok=True)
            stored = np.moveaxis(array, 1, 2)
            nibabel.save(nibabel.Nifti1Image(stored, affine), folder / kind / f"toy_{number}.nii.gz")
    return folder


def test_from_scans_to_scores(data, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "build", lambda model: TinyNet(in_channels=model["in_channels"]))
    cases = find_cases(data).used
    rows = prepare(cases, tmp_path / "cache", task=TASK)
    assert [row.error for row in rows] == [""] * 4
    assert [row.status for row in prepare(cases, tmp_path / "cache", task=TASK)] == ["current"] * 4
    cache = Cache.open(tmp_path / "cache")
    assert cache.task == TASK
    assert {cache.record(name).shape for name in cache.names} == {(16, 19, 19)}
    assert cache.record("toy_0").spacing_mm == (1.5, 24 / 19, 24 / 19)
    volumes = [cache.record(name).label_counts[2] * 1.5 * (24 / 19) ** 2 for name in cache.names]
    np.testing.assert_allclose(volumes, 4 / 3 * np.pi * 5**3, rtol=0.05)
    # What a network is shown of a file is what it was shown of the cache.
    scan = nifti.read_image(data / "imagesTr/toy_0.nii.gz", channels=TASK.channels)
    cached = cache.case("toy_0")
    shown = Slices(scan.array_DHW, (16, 19, 19), whole=False)[0:16]
    np.testing.assert_array_equal(shown, cached.image_DHW)
    assert cached.statistics[0] == pytest.approx(
        (scan.array_DHW[..., 0].mean(), scan.array_DHW[..., 0].std()), rel=1e-4
    )

    config = toy.get_config()
    config.data.cache = str(tmp_path / "cache")
    with pytest.raises(InputError, match=r"spacing 1\.5 x 1\.25 x 1\.25 mm"):
        cascade.run(config, tmp_path / "run")
    config.task.spacing_mm = SPACING_MM
    config.phases.only.epochs = 3
    cascade.run(config, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    validated = [line["validation"]["mean_dice"] for line in lines if "validation" in line]

    stored_config, variables = load_best(tmp_path / "run")
    predictor = Predictor.of(stored_config, registry.build(stored_config.model), variables)
    assert predictor.task.spacing_mm == SPACING_MM
    scans = find_scans(data / "imagesTr", tmp_path / "predictions", 2).used
    outcome = predict_folder([predictor], scans, tmp_path / "predictions", save_probabilities=True)
    assert len(outcome.done) == 4, outcome.failures
    for number in range(4):
        image = nibabel.load(data / f"imagesTr/toy_{number}.nii.gz")
        predicted = nibabel.load(tmp_path / f"predictions/toy_{number}.nii.gz")
        assert predicted.shape == image.shape[:3]
        np.testing.assert_array_equal(predicted.affine, image.affine)
        probabilities = nibabel.load(tmp_path / f"predictions/toy_{number}_probabilities.nii.gz")
        raw = np.asarray(probabilities.dataobj.get_unscaled()).astype(int)
        assert raw.shape == (*image.shape[:3], 3)
        np.testing.assert_allclose(raw.sum(axis=-1), 65535, atol=3)
        kept = np.asarray(predicted.dataobj) > 0  # Clean-up took some of the rest away.
        np.testing.assert_array_equal(raw.argmax(axis=-1)[kept], np.asarray(predicted.dataobj)[kept])
    result = evaluate(tmp_path / "predictions", data / "labelsTr", tmp_path / "scores", task=TASK)
    score = result["modes"]["regions"]["scores"]["mean_dice"]
    assert score > 0.8 and abs(score - max(validated)) < 0.1


def test_a_case_that_has_no_room_once_it_is_resampled_fails_alone(data, tmp_path, monkeypatch):
    tight = Task.of({**toy.TASK, "spacing_mm": (0.01, 0.01, 0.01)})
    monkeypatch.setattr(memory, "machine_bytes", lambda: 10**9)
    rows = prepare(find_cases(data).used[:2], tmp_path / "cache", task=tight)
    assert [row.status for row in rows] == ["failed"] * 2
    assert "toy_0.nii.gz" in rows[0].error
    assert "resampled to 0.01 x 0.01 x 0.01 mm: 2400 x 2400 x 2400 voxels" in rows[0].error
    assert "config.task.spacing_mm" in rows[0].error
    assert not list((tmp_path / "cache").glob("toy_*"))
