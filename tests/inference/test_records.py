"""Which predictions are current, and whose files are never touched."""

import importlib.util
import json

import nibabel
import numpy as np
import pytest

from dsdenseunet.data.scans import nifti
from dsdenseunet.inference.predict import fingerprint
from dsdenseunet.inference.records import CODE, Records
from dsdenseunet.runtime import environment
from tests.inference.bright import BRIGHT, Bright, make_scan, make_scans, run


@pytest.fixture
def scans(tmp_path):
    return make_scans(tmp_path / "scans")


@pytest.mark.parametrize(
    "other", [Bright({"w": np.arange(3.0) + 1e-6}), Bright(BRIGHT.variables, threshold=5)]
)
def test_other_weights_or_options_make_predictions_outdated(scans, tmp_path, other):
    run(scans, tmp_path / "out")
    assert fingerprint(other) != fingerprint(BRIGHT)
    assert len(run(scans, tmp_path / "out", other)[0].done) == 3


def test_an_outdated_prediction_of_a_scan_that_now_fails_does_not_stay(scans, tmp_path):
    run(scans, tmp_path / "out")
    (scans / "volume-1.nii").write_bytes(b"no scan any more")
    run(scans, tmp_path / "out")
    assert not (tmp_path / "out" / "segmentation-1.nii.gz").exists()


def test_somebody_elses_file_fails_its_scan_alone_and_is_never_overwritten(scans, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "segmentation-1.nii.gz").write_bytes(b"an expert's")
    for _ in range(2):
        outcome, said = run(scans, out)
        assert [failure.scan for failure in outcome.failures] == [str(scans / "volume-1.nii")]
        assert "segmentation-1.nii.gz" in said and "predict did not write" in said
        assert len(outcome.done + outcome.skipped) == 2
    assert (out / "segmentation-1.nii.gz").read_bytes() == b"an expert's"


def test_a_scan_is_never_its_own_prediction(tmp_path):
    make_scan(tmp_path / "patient.nii")
    before = (tmp_path / "patient.nii").read_bytes()
    outcome, _ = run(tmp_path, tmp_path, suffix=".nii")
    assert "predict did not write" in outcome.failures[0].message
    assert (tmp_path / "patient.nii").read_bytes() == before


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
@pytest.mark.parametrize("recorded", ["prediction_sha256", "prediction_bytes"])
def test_a_prediction_that_an_expert_corrected_is_not_overwritten(scans, tmp_path, suffix, recorded):
    out = tmp_path / "out"
    run(scans, out, suffix=suffix)
    target, record = out / f"segmentation-1{suffix}", out / ".records" / "segmentation-1.json"
    if recorded == "prediction_bytes":  # as older versions recorded it
        known = json.loads(record.read_text())
        record.write_text(json.dumps({key: known[key] for key in known if key != "prediction_sha256"}))
    grid = nifti.read_grid(target)
    image = nibabel.load(target)
    labels = np.asarray(image.dataobj).copy()
    labels[0] = 2
    # Other software keeps the type that it works with.
    kind = np.uint8 if recorded == "prediction_sha256" else np.int16
    nibabel.save(nibabel.Nifti1Image(labels.astype(kind), grid.affine), target)
    corrected = target.read_bytes()
    other = Bright(BRIGHT.variables, threshold=5)
    outcome, _ = run(scans, out, other, suffix=suffix)
    assert target.read_bytes() == corrected
    assert "another program has changed" in outcome.failures[0].message
    assert sorted(outcome.done) == ["segmentation-0", "segmentation-2"]
    target.unlink()
    assert run(scans, out, other, suffix=suffix)[0].done == ["segmentation-1"]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"x"', '{"scan": 3}', "\udcff"])
def test_a_damaged_record_has_its_scan_done_again(scans, tmp_path, content):
    out = tmp_path / "out"
    run(scans, out)
    record = out / ".records" / "segmentation-1.json"
    record.write_bytes(content.encode(errors="surrogateescape"))
    outcome, _ = run(scans, out)
    assert outcome.done == ["segmentation-1"]
    assert not outcome.failures
    assert json.loads(record.read_text())["prediction_bytes"]


def test_an_outdated_prediction_that_cannot_be_removed_is_said(scans, tmp_path, monkeypatch):
    run(scans, tmp_path / "out")
    (scans / "volume-1.nii").write_bytes(b"no scan any more")

    def refuse(self, scan):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Records, "discard", refuse)
    outcome, _ = run(scans, tmp_path / "out")
    assert "could not be removed" in outcome.failures[0].message
    assert len(outcome.skipped) == 2


def test_other_code_makes_predictions_outdated(scans, tmp_path, monkeypatch):
    run(scans, tmp_path / "out")
    known = environment.code_fingerprint(*CODE)
    assert json.loads((tmp_path / "out/.records/segmentation-0.json").read_text())["code_sha256"] == known
    monkeypatch.setattr(environment, "code_fingerprint", lambda *modules: "0" * 64)
    assert len(run(scans, tmp_path / "out")[0].done) == 3


@pytest.mark.parametrize(
    "module", ["ops.axes", "models.dense_unet", "inference.postprocess", "data.scans.nifti", "data.intensity"]
)
def test_the_code_of_a_prediction_is_all_that_it_passes_through(module):
    assert f"dsdenseunet.{module.split('.')[0]}" in CODE
    assert importlib.util.find_spec(f"dsdenseunet.{module}")


def test_what_was_assumed_of_a_header_is_said_and_recorded(tmp_path):
    make_scan(tmp_path / "scans" / "a.nii")
    image = nibabel.load(tmp_path / "scans" / "a.nii")
    bare = nibabel.Nifti1Image(np.asarray(image.dataobj), None)
    nibabel.save(bare, tmp_path / "scans" / "b.nii")
    marks = nifti.read_grid(tmp_path / "scans" / "b.nii").marks
    assert marks and not nifti.read_grid(tmp_path / "scans" / "a.nii").marks
    _, said = run(tmp_path / "scans", tmp_path / "out")
    sound, marked = said.splitlines()[:2]
    assert "NOTE" not in sound
    assert all(mark in marked for mark in marks)
    records = [json.loads((tmp_path / f"out/.records/{name}.json").read_text()) for name in "ab"]
    assert [record["marks"] for record in records] == [[], list(marks)]
