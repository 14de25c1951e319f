"""Predictions of DICOM series: those of the NIfTI of the same voxels, as NIfTI or as DICOM segmentations."""

import nibabel as nib
import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti
from tests.data.scans import dicoms
from tests.inference.bright import make_scan, run


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """One volume as a series and as NIfTI."""
    root = tmp_path_factory.mktemp("scans")
    hu_IJK = dicoms.series(root / "dicom/p1/CT", directions=dicoms.OBLIQUE)
    (root / "nifti").mkdir()
    nib.save(nib.Nifti1Image(hu_IJK, dicoms.affine_of(dicoms.OBLIQUE)), root / "nifti/p1_CT.nii.gz")
    return root


def test_a_series_gives_the_prediction_of_its_nifti(scans, tmp_path):
    for form in ("dicom", "nifti"):
        outcome, _ = run(scans / form, tmp_path / form)
        assert outcome.done == ["p1_CT"]
    one, other = (nib.load(tmp_path / form / "p1_CT.nii.gz") for form in ("dicom", "nifti"))
    np.testing.assert_array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
    np.testing.assert_allclose(one.affine, other.affine, atol=1e-5)
    assert np.asarray(one.dataobj).any()


def test_segmentations_hold_the_same_labels_and_are_skipped_when_they_are_there(scans, tmp_path):
    run(scans / "dicom", tmp_path / "nifti")
    outcome, _ = run(scans / "dicom", tmp_path / "out", suffix=".dcm", save_probabilities=True)
    assert outcome.done == ["p1_CT"]
    assert not outcome.failures
    files = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_file())
    assert files == ["p1_CT.dcm", "p1_CT_probabilities.nii.gz"]
    np.testing.assert_array_equal(
        nifti.read_labels(tmp_path / "out/p1_CT.dcm").array_DHW,
        nifti.read_labels(tmp_path / "nifti/p1_CT.nii.gz").array_DHW,
    )
    before = (tmp_path / "out/p1_CT.dcm").read_bytes()
    outcome, _ = run(scans / "dicom", tmp_path / "out", suffix=".dcm", save_probabilities=True)
    assert outcome.skipped == ["p1_CT"]
    (tmp_path / "out/p1_CT.dcm").write_bytes(before[:-9])
    outcome, _ = run(scans / "dicom", tmp_path / "out", suffix=".dcm", save_probabilities=True)
    assert outcome.done == ["p1_CT"]


def test_nifti_scans_cannot_become_segmentations(scans, tmp_path):
    make_scan(tmp_path / "scans/volume-0.nii")
    with pytest.raises(InputError, match="a NIfTI file"):
        run(tmp_path / "scans", tmp_path / "out", suffix=".dcm")
    assert not (tmp_path / "out").exists()


def test_a_bad_series_harms_no_other(scans, tmp_path):
    dicoms.series(tmp_path / "in/good")
    dicoms.series(tmp_path / "in/bad")
    (tmp_path / "in/bad/IM0001").unlink()
    outcome, said = run(tmp_path / "in", tmp_path / "out", suffix=".dcm")
    assert outcome.done == ["good"]
    assert "1 slice missing" in outcome.failures[0].message
    assert "FAILED at read" in said
    assert not (tmp_path / "out/bad.dcm").exists()
