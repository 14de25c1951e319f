import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans.layouts import find_cases, natural_key


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_lits_with_both_training_folders_and_both_endings(tmp_path):
    touch(
        tmp_path,
        *("Training Batch 1/volume-2.nii", "Training Batch 1/segmentation-2.nii"),
        *("Training Batch 2/volume-10.nii.gz", "Training Batch 2/segmentation-10.nii.gz"),
        *("Training Batch 2/volume-28.nii", "Training Batch 2/segmentation-28.nii.gz"),
    )
    cases = find_cases(tmp_path).used
    assert [case.name for case in cases] == ["volume-2", "volume-10", "volume-28"]
    assert cases[1].image == tmp_path / "Training Batch 2/volume-10.nii.gz"
    assert cases[2].labels == tmp_path / "Training Batch 2/segmentation-28.nii.gz"
    assert not any(case.test for case in cases)


def test_images_and_labels_may_lie_in_different_folders(tmp_path):
    touch(tmp_path, "volume_pt1/volume-0.nii", "segmentations/segmentation-0.nii")
    assert find_cases(tmp_path).used[0].labels == tmp_path / "segmentations/segmentation-0.nii"


def test_test_scans_are_told_apart_from_training_scans(tmp_path):
    touch(tmp_path, "test-volume-0.nii", "test-volume-1.nii", "test-segmentation-1.nii", "volume-0.nii")
    cases = {case.name: case for case in find_cases(tmp_path).used}
    assert set(cases) == {"test-volume-0", "test-volume-1", "volume-0"}
    assert cases["test-volume-0"].test
    assert cases["test-volume-0"].labels is None
    assert cases["test-volume-1"].labels is not None
    assert not cases["volume-0"].test
    assert cases["volume-0"].labels is None


def test_decathlon_layout_without_mac_litter(tmp_path):
    touch(
        tmp_path / "Task03_Liver",
        *("imagesTr/liver_0.nii.gz", "labelsTr/liver_0.nii.gz", "imagesTr/._liver_0.nii.gz"),
        *("imagesTr/liver_10.nii.gz", "labelsTr/liver_10.nii.gz", "imagesTs/liver_3.nii.gz", "dataset.json"),
    )
    cases = find_cases(tmp_path).used
    assert [(case.name, case.test, case.labels is None) for case in cases] == [
        ("liver_0", False, False),
        ("liver_3", True, True),
        ("liver_10", False, False),
    ]


def test_other_files_are_passed_over(tmp_path):
    touch(tmp_path, "volume-1.nii", "volume-1.json", "volume-1-old.nii", "prediction-1.nii", "other/scan.nii")
    assert [case.name for case in find_cases(tmp_path).used] == ["volume-1"]


def test_a_linked_folder_is_entered_once(tmp_path):
    touch(tmp_path / "elsewhere", "volume-1.nii")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "elsewhere")
    assert [case.name for case in find_cases(tmp_path / "root").used] == ["volume-1"]


@pytest.mark.parametrize(
    "second", ["a/volume-1.nii.gz", "b/volume-1.nii", "a/segmentation-1.nii.gz", "b/segmentation-1.nii"]
)
def test_two_files_for_one_scan_are_refused(tmp_path, second):
    touch(tmp_path, "a/volume-1.nii", "a/segmentation-1.nii", second)
    with pytest.raises(InputError, match="a second"):
        find_cases(tmp_path)


def test_no_folder_a_file_or_nothing_in_it(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        find_cases(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="a file"):
        find_cases(tmp_path / "file")
    (tmp_path / "file").rename(tmp_path / "scan.nii")
    with pytest.raises(InputError, match="no scan"):
        find_cases(tmp_path)


def test_natural_order():
    names = ["volume-10", "volume-9", "test-volume-1", "liver_2", "10", "9"]
    assert sorted(names, key=natural_key) == ["9", "10", "liver_2", "test-volume-1", "volume-9", "volume-10"]
