"""Folders of DICOM in place of NIfTI files: what each command finds in them, and what it makes of it."""

import dataclasses
import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data import preparation, preparation_report
from dsdenseunet.data.doctor.examination import examine
from dsdenseunet.data.fingerprint.case_fingerprint import fingerprint_case
from dsdenseunet.data.manifest import array_path
from dsdenseunet.data.scans import layouts, nifti, walk
from dsdenseunet.data.scans.dicom_seg_writer import write_segmentation
from dsdenseunet.evaluation.pairing import FilePair, find_images, find_pairs
from dsdenseunet.evaluation.reading import score_files
from dsdenseunet.inference.scans import find_scans
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.channel import Channel
from tests.data.scans import dicoms


def names(found):
    return [scan.name for scan in found.used]


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    """As an archive exports patients: a folder for each series, whose names are the same for all patients."""
    root = tmp_path_factory.mktemp("archive") / "patients"
    for patient in ("P10", "P9"):
        dicoms.series(root / patient / "CT")
    dicoms.save(root / "P9/scout", dicoms.slices(dicoms.values())[:2])
    report = dicoms.dataset("1.2.840.10008.5.1.4.1.1.88.11", "1.2.9")
    report.save_as(root / "P9/report", enforce_file_format=True)
    (root / "P9/notes.txt").write_text("no DICOM")
    (root / "P10/broken.dcm").write_text("no DICOM")
    return root


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Two cases in the Decathlon's folders: labels of the first are DICOM, those of the second NIfTI."""
    root = tmp_path_factory.mktemp("labelled")
    for number in (1, 2):
        folder = root / f"dicom/imagesTr/case_{number}"
        hu_IJK = dicoms.series(folder, seed=number, directions=dicoms.OBLIQUE)
        grid = nifti.read_grid(folder)
        labels_IJK = np.random.default_rng(number).integers(0, 3, hu_IJK.shape).astype(np.uint8)
        for kind, array_IJK in (("images", hu_IJK), ("labels", labels_IJK)):
            target = root / f"nifti/{kind}Tr/case_{number}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array_IJK, dicoms.affine_of(dicoms.OBLIQUE)), target)
        (root / "dicom/labelsTr").mkdir(exist_ok=True)
        if number == 1:
            labels_DHW = grid.to_canonical(labels_IJK)
            write_segmentation(root / "dicom/labelsTr/case_1.dcm", labels_DHW, folder, lits.TASK)
        else:
            shutil.copy(target, root / "dicom/labelsTr")
    return root


def test_predict_finds_every_series_below_a_folder_and_names_the_rest(patients):
    found = find_scans(patients)
    assert names(found) == ["P9_CT", "P10_CT"]
    told = {other.path.relative_to(patients).as_posix(): other.why for other in found.passed_over}
    assert set(told) == {"P9/report", "P9/scout/IM0000", "P9/scout/IM0001", "P10/broken.dcm"}
    assert "fewer than 3" in told["P9/scout/IM0000"]
    assert "without a volume" in told["P9/report"]
    assert "neither DICOM by its content" in told["P10/broken.dcm"]
    assert names(find_scans(patients / "P9/CT")) == ["CT"]
    with pytest.raises(InputError, match="one slice of a series"):
        find_scans(patients / "P9/CT/IM0000")


def test_segmentations_of_an_archive_belong_to_the_series_that_they_name(patients, tmp_path):
    root = shutil.copytree(patients, tmp_path / "patients")
    for patient, uid in (("P9", "1.2.50"), ("P10", "1.2.51")):
        folder = root / patient / "CT"
        dicoms.series(folder, series=uid)
        labels_DHW = np.ones(nifti.read_grid(folder).shape_DHW, np.uint8)
        write_segmentation(root / patient / "SEG/1-1.dcm", labels_DHW, folder, lits.TASK)
    dicoms.series(root / "P9/another", series="1.2.52")
    found = layouts.find_cases(root)
    assert names(found) == ["P9_CT", "P10_CT"]
    assert [case.labels.relative_to(root).as_posix() for case in found.used] == [
        "P9/SEG/1-1.dcm",
        "P10/SEG/1-1.dcm",
    ]
    assert root / "P9/another" in [other.path for other in found.passed_over]
    assert names(find_scans(root)) == ["P9_CT", "P9_another", "P10_CT"]
    (tmp_path / "predictions").mkdir()
    for case in found.used:
        shutil.copy(case.labels, tmp_path / f"predictions/{case.name}.dcm")
    pairs = find_pairs(tmp_path / "predictions", root).used
    assert {pair.name: pair.reference for pair in pairs} == {case.name: case.labels for case in found.used}
    assert find_images(pairs, root) == {case.name: case.image for case in found.used}


def test_a_file_of_all_frames_is_a_scan(tmp_path):
    dicoms.enhanced(tmp_path / "IM_0005", dicoms.values(), range(5))
    dicoms.enhanced(tmp_path / "deep/er/IM_0005.dcm", dicoms.values(), range(5))
    assert names(find_scans(tmp_path)) == ["IM_0005", "deep_er_IM_0005"]
    assert names(find_scans(tmp_path / "IM_0005")) == ["IM_0005"]


def test_cases_of_dicom_are_found_as_those_of_nifti(labelled):
    here, there = (layouts.find_cases(labelled / form) for form in ("dicom", "nifti"))
    assert names(here) == names(there) == ["case_1", "case_2"]
    assert [case.labels.name for case in here.used] == ["case_1.dcm", "case_2.nii.gz"]
    assert here.passed_over == ()


def test_lits_names_and_channels_are_those_of_folders(tmp_path):
    for number, name in enumerate(("two/imagesTr/p_0000", "two/imagesTr/p_0001", "lits/volume-007")):
        dicoms.series(tmp_path / name, series=f"1.2.5{number}")
    assert names(layouts.find_cases(tmp_path / "lits")) == ["volume-007"]
    (case,) = layouts.find_cases(tmp_path / "two", channels=2).used
    assert [path.name for path in case.images] == ["p_0000", "p_0001"]
    image = nifti.read_image(case.images, channels=(Channel("a", "zscore"), Channel("b", "zscore")))
    assert image.array_DHW.shape == (5, 7, 8, 2)
    # Labels can have been drawn on either of them.
    assert image.grid.series == ("1.2.50", "1.2.51")
    name, paths = layouts.files_of(tmp_path / "two/imagesTr/p_0000", channels=2)
    assert (name, [path.name for path in paths]) == ("p", ["p_0000", "p_0001"])


def test_a_series_without_a_data_sets_name_is_no_case(patients):
    with pytest.raises(InputError, match="no scan; passed over"):
        layouts.find_cases(patients)


def test_a_link_to_a_series_is_a_series(patients, tmp_path):
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans/seven").symlink_to(patients / "P9/CT")
    assert names(find_scans(tmp_path / "scans")) == ["seven"]
    assert [file.form for file in walk.walk(tmp_path / "scans").used] == [walk.SERIES]


def arrays(cache):
    return {
        (name, kind): np.load(array_path(cache, name, kind))
        for name in ("case_1", "case_2")
        for kind in ("image", "labels", "counts")
    }


def test_the_cache_is_that_of_the_nifti_files_and_follows_the_slices(labelled, tmp_path):
    caches = {}
    for form in ("dicom", "nifti"):
        cases = layouts.find_cases(labelled / form).used
        rows = preparation.prepare(cases, tmp_path / form)
        assert [row.status for row in rows] == ["new", "new"], rows
        patients = [row.record.patient for row in rows if row.record]
        assert patients == (["7", "7"] if form == "dicom" else ["", ""])
        assert fingerprint_case(cases[0], lits.TASK)[0].patient == patients[0]
        caches[form] = arrays(tmp_path / form)
    for key, array in caches["dicom"].items():
        np.testing.assert_array_equal(array, caches["nifti"][key])
    root = shutil.copytree(labelled / "dicom", tmp_path / "changed")
    cases = layouts.find_cases(root).used
    rows = preparation.prepare(cases, tmp_path / "dicom")
    assert [row.status for row in rows] == ["current", "current"]
    assert "NOTE all 2 DICOM cases have the PatientID '7'" in preparation_report.report(rows, lits.TASK)
    other = dataclasses.replace(rows[0], name="x", record=dataclasses.replace(rows[0].record, patient="8"))
    told = preparation_report.report([*rows, other], lits.TASK)
    assert "several scans of 1 patient, whom folds keep together: 7: case_1, case_2" in told
    dicoms.series(root / "imagesTr/case_1", seed=9, directions=dicoms.OBLIQUE)
    assert [row.status for row in preparation.prepare(cases, tmp_path / "dicom")] == ["new", "current"]
    (root / "imagesTr/case_1/IM0002").unlink()
    rows = preparation.prepare(cases, tmp_path / "dicom")
    assert [row.status for row in rows] == ["failed", "current"]
    assert "1 slice missing" in rows[0].error


def test_the_doctor_finds_the_same_and_copies_to_nifti(labelled, tmp_path):
    task = dataclasses.replace(lits.TASK, name="MR", channels=(Channel("MR", "zscore"),))
    for form in ("dicom", "nifti"):
        found, manifest = examine(labelled / form, task=task, repair_to=tmp_path / form)
        assert [fact["orientation"] for fact in manifest["files"]] == ["LPS"] * 4
        assert [finding.check for finding in found] == []
    for case in layouts.find_cases(labelled / "nifti").used:
        for path in (case.image, case.labels):
            copies = [tmp_path / form / path.relative_to(labelled / "nifti") for form in ("dicom", "nifti")]
            one, other = map(nib.load, copies)
            np.testing.assert_array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
            np.testing.assert_allclose(one.affine, other.affine, atol=1e-5)


def test_the_doctor_names_what_is_wrong_with_dicom(labelled, tmp_path):
    root = shutil.copytree(labelled / "dicom", tmp_path / "data")
    (root / "imagesTr/case_2/IM0001").unlink()
    made = pydicom.dcmread(root / "labelsTr/case_1.dcm")
    made.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.77"
    made.save_as(root / "labelsTr/case_1.dcm")
    found = {(one.check, one.path.name): one.found for one in examine(root)[0]}
    assert "1 slice missing" in found["unreadable", "case_2"]
    assert "of the series 1.2.77" in found["unreadable", "case_1.dcm"]


def test_segmentations_are_scored_as_the_nifti_of_the_same_labels(labelled):
    predictions, references = labelled / "dicom/labelsTr", labelled / "nifti/labelsTr"
    pairs = find_pairs(predictions, references).used
    assert [pair.prediction.name for pair in pairs] == ["case_1.dcm", "case_2.nii.gz"]
    assert find_images(pairs, labelled / "dicom")["case_1"] == labelled / "dicom/imagesTr/case_1"
    reference = references / "case_2.nii.gz"
    scores = [
        score_files(FilePair("case_2", path, reference))
        for path in (predictions / "case_1.dcm", references / "case_1.nii.gz")
    ]
    assert scores[0] == scores[1]
    perfect = score_files(FilePair("case_1", references / "case_1.nii.gz", predictions / "case_1.dcm"))
    assert perfect.scores["corrected"].tumour_dice == 1
