"""What saved probabilities are worth: by hand, and found again where it is known."""

from __future__ import annotations

import csv
import dataclasses
import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.probabilities import ONE, read_probabilities, write_probabilities
from dsdenseunet.evaluation import calibration, reading
from dsdenseunet.evaluation.calibration import AS_SAVED, BINS, TEMPERATURES, Calibration, calibrate
from dsdenseunet.evaluation.folder import Set, evaluate_set
from dsdenseunet.inference import labelling
from dsdenseunet.reporting.score_page import write_score_page
from tests.evaluation.test_regions import TASK


def stored(probabilities):
    return np.round(np.asarray(probabilities) * ONE).astype(np.uint16)


def sharpened(shape=(6, 20, 20), factor=2.0, seed=0):
    """Probabilities `factor` times as sure as they should be, and labels that are drawn as they should be."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(3, *shape)) * 1.5
    honest = np.exp(logits) / np.exp(logits).sum(axis=0)
    drawn = rng.random(shape)
    labels = (drawn > honest[0]).astype(np.uint8) + (drawn > honest[0] + honest[1])
    sure = honest**factor
    return sure / sure.sum(axis=0), labels


def test_by_hand():
    # Of the voxels in the box one is right at 0.75, one wrong at 0.75, one right at 1; the last is ignored.
    first, second, last = [0.25, 0.75, 0], [0.75, 0.25, 0], [0, 0, 1]
    probabilities = np.moveaxis(np.array([[[first, second, last, first, [1, 0, 0]]]]), -1, 0)
    reference = np.array([[[1, 1, 2, 9, 0]]], np.uint8)
    found = calibrate(stored(probabilities), reference, TASK)
    assert found.voxels[AS_SAVED].tolist() == [0] * 11 + [2] + [0] * 2 + [1]
    assert found.correct[AS_SAVED].sum() == 2
    assert found.mean_nll() == pytest.approx(-(np.log(0.75) + np.log(0.25)) / 3, abs=1e-4)
    assert found.ece() == pytest.approx((1.5 - 1) / 3, abs=1e-4)
    nothing = calibrate(stored(probabilities[..., 4:]), reference[..., 4:], TASK)
    assert nothing.ece() is nothing.mean_nll() is calibration.summarise([nothing]) is None


def test_the_temperature_that_was_put_in_is_found():
    for factor in (0.75, 1.0, 2.5):
        probabilities, labels = sharpened(factor=factor)
        told = calibration.summarise([calibrate(stored(probabilities), labels, TASK)])
        assert told is not None
        # Within a step or two: the labels are a sample.
        assert told["temperature"] == pytest.approx(factor, rel=0.1)
        assert told["with_temperature"]["ece"] <= told["as_saved"]["ece"] < 0.2
        assert sum(one["voxels"] for one in told["as_saved"]["bins"]) == told["voxels"]


def test_parts_give_the_whole_and_come_back_from_a_file(monkeypatch):
    probabilities, labels = sharpened()
    labels[0] = 0
    whole = calibrate(stored(probabilities), labels, TASK)
    monkeypatch.setattr(calibration, "_CHUNK", 100)
    parts = calibrate(stored(probabilities), labels, TASK)
    np.testing.assert_allclose(parts.nll, whole.nll)
    np.testing.assert_array_equal(parts.voxels, whole.voxels)
    again = Calibration.from_json(json.loads(json.dumps(whole.to_json())))
    np.testing.assert_array_equal(again.confidence, whole.confidence)
    assert (again + whole).mean_nll() == pytest.approx(whole.mean_nll())


def test_predict_s_temperature_is_that_of_the_scores_and_changes_no_label():
    probabilities, labels = sharpened()
    found = calibrate(stored(probabilities), labels, TASK)
    at = found.best()
    values = jnp.moveaxis(jnp.asarray(probabilities, jnp.float32), 0, -1)
    cooled = labelling.cooled(values, TEMPERATURES[at])
    assert (labelling.labelled(cooled) == labelling.labelled(values)).all()
    kept = np.moveaxis(np.asarray(labelling.stored(cooled, labelling.labelled(values))), -1, 0)
    again = calibrate(kept, labels, TASK)
    assert again.mean_nll() == pytest.approx(found.mean_nll(at), rel=1e-3)
    assert again.ece() == pytest.approx(found.ece(at), abs=2e-3)
    assert again.best() == AS_SAVED


@pytest.fixture
def folders(tmp_path):
    """A case whose prediction runs along other axes than its reference, and one without probabilities."""
    probabilities, labels = sharpened()
    for name, axes in (("a", "RAS"), ("b", "RAS")):
        nifti.write_new(tmp_path / "references" / f"{name}.nii", labels, (2.0, 1.0, 1.0), "LPS")
        path = tmp_path / "predictions" / f"{name}.nii.gz"
        nifti.write_new(path, probabilities.argmax(axis=0).astype(np.uint8), (2.0, 1.0, 1.0), axes)
    files.write_json(tmp_path / "predictions" / ".records" / "a.json", {})
    beside = tmp_path / "predictions" / "a_probabilities.nii.gz"
    write_probabilities(beside, stored(probabilities), nifti.read_grid(tmp_path / "predictions" / "a.nii.gz"))
    return tmp_path, calibrate(stored(probabilities), labels, TASK)


def test_a_folder_s_scores_say_what_its_probabilities_are_worth(folders, monkeypatch):
    folder, expected = folders
    out = folder / "out"
    read = []

    def counted(path, *more, **named):
        read.append(path.name)
        return nifti.read_labels(path, *more, **named)

    monkeypatch.setattr(reading, "nifti", SimpleNamespace(**{**vars(nifti), "read_labels": counted}))
    members = Set.of(folder / "predictions", folder / "references", None)
    members = dataclasses.replace(members, facts={"a": {"fold": "0"}, "b": {"fold": "1"}})
    result = evaluate_set(members, out, workers=1, task=TASK)
    told = result["calibration"]
    # Each file once, whether probabilities lie beside it or not.
    assert sorted(read) == ["a.nii", "a.nii.gz", "b.nii", "b.nii.gz"]
    assert told["cases"] == 1
    assert told["as_saved"]["ece"] == pytest.approx(expected.ece())
    assert len(told["with_temperature"]["bins"]) == BINS
    with (out / "cases.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["ece"] for row in rows] == [str(told["as_saved"]["ece"]), ""]
    assert [row["fold"] for row in rows] == ["0", "1"]
    assert [of["cases"] for of in result["by_fold"].values()] == [1, 1]
    dice = [of["regions"]["core_dice"] for of in result["by_fold"].values()]
    assert dice == [float(row["core_dice"]) for row in rows]
    page = write_score_page(out).read_text()
    assert f"at temperature {told['temperature']:.3g}" in page and "Accuracy over confidence" in page
    assert f"{dice[0]:.3f} ± 0.000" in page and "could not be drawn" not in page


def test_other_files_are_no_probabilities(folders):
    folder, _ = folders
    with pytest.raises(InputError, match="as predict writes them"):
        read_probabilities(folder / "references" / "a.nii", 1)
    with pytest.raises(InputError, match="channel"):
        read_probabilities(folder / "predictions" / "a_probabilities.nii.gz", 2)
