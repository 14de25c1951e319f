"""Each known fault is put into one of several phantoms; the doctor must name it and no other file."""

import hashlib
import shutil

import nibabel as nib
import numpy as np
import pytest

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.doctor import examination as doctor
from dsdenseunet.data.samples import phantom
from dsdenseunet.data.scans import nifti
from tests.data.faults import FAULTS, VOLUME, mirror, truncate

SIZE = (48, 64, 64)
CASES = 3


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    phantom.write_phantoms(folder, CASES, seed=4, size=SIZE)
    return folder


@pytest.fixture
def data(phantoms, tmp_path):
    return shutil.copytree(phantoms, tmp_path / "data")


def test_clean_phantoms_have_no_finding(phantoms):
    findings, manifest = doctor.examine(phantoms)
    assert findings == []
    assert len(manifest["files"]) == 2 * CASES


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_and_nothing_else(fault, data):
    inject, check, name = FAULTS[fault]
    inject(data)
    findings, manifest = doctor.examine(data)
    assert [(finding.check, finding.path.name) for finding in findings] == [(check, name)]
    assert manifest["findings"][0]["check"] == check
    assert name in str(findings[0])


@pytest.mark.parametrize(
    "fault",
    [
        "flipped head-feet",
        "flipped front-back",
        "flipped right-left",
        "label axes mixed",
        "label voxels turned",
        "nonsense affine of labels",
        "mirrored qform",
        "zero voxel size",
        "no number in the labels' header",
        "label grid elsewhere",
        "label two slices up",
        "float labels",
        "labels a little off",
        "labels scaled to 8 bits",
        "metal",
        "HU out of range",
        "NaN",
        "tumour outside liver",
    ],
)
def test_repaired_copies_are_clean_and_originals_untouched(fault, data, tmp_path):
    inject, _, _ = FAULTS[fault]
    inject(data)
    before = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in data.iterdir()}
    _, manifest = doctor.examine(data, repair_to=tmp_path / "repaired")
    assert len(manifest["copies"]) == CASES
    assert doctor.examine(tmp_path / "repaired")[0] == []
    assert before == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in data.iterdir()}


def test_a_clean_copy_keeps_voxels_and_place(data, tmp_path):
    doctor.examine(data, repair_to=tmp_path / "repaired")
    for path in data.iterdir():
        original, copy = nib.load(path), nib.load(tmp_path / "repaired" / path.name)
        assert np.array_equal(np.asanyarray(original.dataobj), np.asanyarray(copy.dataobj))
        assert np.allclose(original.affine, copy.affine, atol=1e-4)


def test_a_turned_affine_places_each_voxel_at_its_mirror(data, tmp_path):
    clean = nifti.read_image(data / VOLUME).array_DHW
    mirror(data, 2)
    doctor.examine(data, repair_to=tmp_path / "repaired")
    assert np.array_equal(nifti.read_image(tmp_path / "repaired" / VOLUME).array_DHW, clean)


def test_a_case_that_cannot_be_repaired_is_left_out(data, tmp_path):
    truncate(data / VOLUME)
    _, manifest = doctor.examine(data, repair_to=tmp_path / "repaired")
    assert [copy["name"] for copy in manifest["copies"]] == ["volume-0", "volume-2"]


def test_another_experts_labels_are_not_to_be_thrown_away(data):
    shutil.copy(data / VOLUME, data / "volume-9.nii")
    labels = nib.load(data / "segmentation-1.nii")
    nib.save(
        nib.Nifti1Image(np.minimum(np.asanyarray(labels.dataobj), 1), labels.affine),
        data / "segmentation-9.nii",
    )
    findings, _ = doctor.examine(data)
    assert [finding.check for finding in findings] == ["duplicate"]
    assert "other labels" in findings[0].found
    assert "second expert" in findings[0].repair


def test_copies_lie_as_the_originals_do(data, tmp_path):
    """In Decathlon layout an image and its labels have one name."""
    for case in range(CASES):
        for folder, kind in (("imagesTr", "volume"), ("labelsTr", "segmentation")):
            (data / folder).mkdir(exist_ok=True)
            (data / f"{kind}-{case}.nii").rename(data / folder / f"liver_{case}.nii")
    findings, manifest = doctor.examine(data, repair_to=tmp_path / "repaired")
    assert findings == []
    assert len(manifest["copies"]) == CASES
    assert doctor.examine(tmp_path / "repaired")[0] == []
    for case in range(CASES):
        for folder in ("imagesTr", "labelsTr"):
            original, copy = (
                nib.load(d / folder / f"liver_{case}.nii") for d in (data, tmp_path / "repaired")
            )
            assert np.array_equal(np.asanyarray(original.dataobj), np.asanyarray(copy.dataobj))


def test_a_case_that_cannot_be_examined_is_named_and_the_rest_is_done(data, monkeypatch):
    hashed = files.sha256

    def failing(path):
        if path.name == VOLUME:
            raise OSError(5, "Input/output error", str(path))
        return hashed(path)

    monkeypatch.setattr(files, "sha256", failing)
    findings, manifest = doctor.examine(data)
    assert [(finding.check, finding.path.name) for finding in findings] == [("not-examined", VOLUME)]
    assert "Input/output error" in findings[0].found
    assert len(manifest["files"]) == 2 * (CASES - 1)


@pytest.mark.parametrize("name", [VOLUME, "segmentation-1.nii"])
def test_a_copy_that_fails_is_named_and_the_rest_is_done(data, tmp_path, monkeypatch, name):
    write = nifti.write_stored

    def full(path, header, array_IJK):
        if path.name == name:
            raise OSError(28, "No space left on device", str(path))
        write(path, header, array_IJK)

    monkeypatch.setattr(nifti, "write_stored", full)
    findings, manifest = doctor.examine(data, repair_to=tmp_path / "repaired")
    assert [(finding.check, finding.path.name) for finding in findings] == [("not-copied", VOLUME)]
    assert manifest["findings"][0]["check"] == "not-copied"
    assert [copy["name"] for copy in manifest["copies"]] == ["volume-0", "volume-2"]
    # Not even half of the case is there.
    assert sorted(path.name[-5:] for path in (tmp_path / "repaired").iterdir()) == [
        "0.nii",
        "0.nii",
        "2.nii",
        "2.nii",
    ]


def test_copies_never_go_into_the_data_set(data):
    with pytest.raises(InputError, match="another place"):
        doctor.examine(data, repair_to=data / "repaired")


def test_worker_processes_find_the_same(data):
    FAULTS["label 3"][0](data)
    one, two = doctor.examine(data), doctor.examine(data, workers=2)
    assert one == two
