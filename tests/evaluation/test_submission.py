import io
import zipfile

import nibabel as nib
import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti
from dsdenseunet.evaluation.submission import notes, write_submission

SHAPE = (4, 5, 6)


def labels_of(number):
    return np.random.default_rng(number).integers(0, 3, SHAPE).astype(np.uint8)


@pytest.fixture
def folders(tmp_path):
    for number in range(70):
        volume = tmp_path / "volumes" / f"test-volume-{number}.nii"
        nifti.write_new(volume, np.zeros(SHAPE, np.int16), (2.0, 1.0, 0.5), "LPS")
        grid = nifti.read_grid(volume)
        nifti.write_labels(tmp_path / "predictions" / f"test-volume-{number}.nii.gz", labels_of(number), grid)
    return tmp_path


def submit(root, **options):
    return write_submission(root / "predictions", root / "volumes", root / "out.zip", **options).used


def test_a_whole_submission(folders):
    entries = submit(folders)
    with zipfile.ZipFile(folders / "out.zip") as archive:
        assert archive.namelist() == [f"test-segmentation-{number}.nii" for number in range(70)]
        assert archive.namelist() == [entry.name for entry in entries]
        stored = nib.Nifti1Image.from_stream(io.BytesIO(archive.read("test-segmentation-41.nii")))
    volume = nib.load(folders / "volumes" / "test-volume-41.nii")
    assert stored.get_data_dtype() == np.uint8
    assert np.array_equal(stored.affine, volume.affine)
    grid = nifti.read_grid(folders / "volumes" / "test-volume-41.nii")
    assert np.array_equal(grid.to_canonical(np.asanyarray(stored.dataobj)), labels_of(41))
    assert entries[41].tumour_voxels == np.count_nonzero(labels_of(41) == 2)


def test_equal_predictions_give_equal_files(folders):
    submit(folders)
    first = (folders / "out.zip").read_bytes()
    submit(folders)
    assert (folders / "out.zip").read_bytes() == first


def test_a_prediction_along_other_axes_is_turned_onto_the_scan(folders):
    path = folders / "predictions" / "test-volume-5.nii.gz"
    nib.save(nib.as_closest_canonical(nib.load(path)), folders / "predictions" / "test-segmentation-5.nii")
    path.unlink()
    submit(folders)
    with zipfile.ZipFile(folders / "out.zip") as archive:
        stored = nib.Nifti1Image.from_stream(io.BytesIO(archive.read("test-segmentation-5.nii")))
    grid = nifti.read_grid(folders / "volumes" / "test-volume-5.nii")
    assert np.array_equal(grid.to_canonical(np.asanyarray(stored.dataobj)), labels_of(5))


def test_missing_cases_are_refused_unless_partial(folders):
    (folders / "predictions" / "test-volume-3.nii.gz").unlink()
    (folders / "predictions" / "test-volume-64.nii.gz").unlink()
    with pytest.raises(InputError, match="no predictions for cases 3, 64"):
        submit(folders)
    assert not (folders / "out.zip").exists()
    assert len(submit(folders, partial=True)) == 68
    (folders / "volumes" / "test-volume-4.nii").unlink()
    with pytest.raises(InputError, match="no test volumes for cases 4"):
        submit(folders, partial=True)


def change_shape(path, volume):
    nifti.write_new(path, np.zeros((4, 5, 7), np.uint8), (2.0, 1.0, 0.5), "LPS")


def change_place(path, volume):
    affine = volume.affine.copy()
    affine[0, 3] += 3
    nib.save(nib.Nifti1Image(np.zeros(volume.shape, np.uint8), affine), path)


def change_label(path, volume):
    nib.save(nib.Nifti1Image(np.full(volume.shape, 3, np.uint8), volume.affine), path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_shape, "7 x 5 x 4 voxels along LPS"),
        (change_place, "6.0 voxels away from the scan's .another place"),
        (change_label, "values 3"),
    ],
)
def test_a_wrong_prediction_leaves_no_zip(folders, change, message):
    volume = nib.load(folders / "volumes" / "test-volume-9.nii")
    change(folders / "predictions" / "test-volume-9.nii.gz", volume)
    with pytest.raises(InputError, match=message):
        submit(folders)
    assert sorted(path.name for path in folders.iterdir()) == ["predictions", "volumes"]


def test_paths_that_do_not_work(folders):
    with pytest.raises(InputError, match="no such folder"):
        write_submission(folders / "none", folders / "volumes", folders / "out.zip")
    (folders / "empty").mkdir()
    with pytest.raises(InputError, match=r"no test-volume-N\.nii"):
        write_submission(folders / "predictions", folders / "empty", folders / "out.zip")
    with pytest.raises(InputError, match=r"\.zip"):
        write_submission(folders / "predictions", folders / "volumes", folders / "out.tar")
    (folders / "predictions" / "test-segmentation-1.nii").write_bytes(b"")
    with pytest.raises(InputError, match="a second file"):
        submit(folders)


def test_every_case_that_cannot_be_handed_in_is_named_at_once(folders):
    for number, change in ((9, change_shape), (20, change_place), (41, change_label)):
        volume = nib.load(folders / "volumes" / f"test-volume-{number}.nii")
        change(folders / "predictions" / f"test-volume-{number}.nii.gz", volume)
    (folders / "predictions" / "test-volume-60.nii.gz").write_bytes(b"x")
    written = []
    with pytest.raises(InputError, match="4 of 70 cases that cannot be handed in") as caught:
        submit(folders, on_entry=written.append)
    for number in (9, 20, 41, 60):
        assert f"test-volume-{number}.nii.gz: " in caught.value.found
    assert [entry.name for entry in written] == [f"test-segmentation-{number}.nii" for number in range(9)]
    assert sorted(path.name for path in folders.iterdir()) == ["predictions", "volumes"]


def test_what_was_assumed_of_headers_is_among_the_notes(folders):
    for path in (folders / "volumes" / "test-volume-2.nii", folders / "volumes" / "test-volume-7.nii"):
        raw = bytearray(path.read_bytes())
        header = nib.Nifti1Header(bytes(raw[:348]))
        header["sform_code"] = header["qform_code"] = 0
        raw[:348] = header.binaryblock
        path.write_bytes(bytes(raw))
    for number in (2, 7):
        grid = nifti.read_grid(folders / "volumes" / f"test-volume-{number}.nii")
        prediction = folders / "predictions" / f"test-volume-{number}.nii.gz"
        nifti.write_labels(prediction, np.zeros(SHAPE, np.uint8), grid)
    empty, *others = notes(submit(folders))
    assert empty.startswith("note: no liver")
    (mark,) = grid.marks
    assert f"note: scan: {mark}: test-segmentation-2.nii, test-segmentation-7.nii" in others


def test_predictions_of_no_test_case_are_no_submission(folders):
    """--partial takes what is there, but the challenge has cases 0 to 69 only."""
    for path in (folders / "predictions").iterdir():
        path.unlink()
    grid = nifti.read_grid(folders / "volumes" / "test-volume-1.nii")
    nifti.write_labels(folders / "predictions" / "test-segmentation-70.nii", labels_of(70), grid)
    with pytest.raises(InputError, match="test cases 0 to 69"):
        submit(folders, partial=True)
    nifti.write_labels(folders / "predictions" / "test-segmentation-1.nii", labels_of(1), grid)
    zipped = write_submission(folders / "predictions", folders / "volumes", folders / "out.zip", partial=True)
    assert [entry.name for entry in zipped.used] == ["test-segmentation-1.nii"]
    assert "test-segmentation-70.nii" in {other.path.name for other in zipped.passed_over}
