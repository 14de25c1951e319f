import itertools

import pytest

from dsdenseunet.errors import InputError
from dsdenseunet.inference.scans import find_scans, prediction_name, take_shard


@pytest.mark.parametrize(
    ("scan", "prediction"),
    [
        ("volume-7", "segmentation-7"),
        ("test-volume-12", "test-segmentation-12"),
        ("liver_3", "liver_3"),
        ("my-volume-7", "my-volume-7"),
        ("volume-7b", "volume-7b"),
    ],
)
def test_predictions_are_named_as_the_challenge_does(scan, prediction):
    assert prediction_name(scan) == prediction


def names(path):
    return [scan.name for scan in find_scans(path).used]


def test_lits_folders_give_their_images_only(tmp_path):
    for name in ("a/volume-10.nii", "a/segmentation-10.nii", "b/volume-2.nii.gz", "test-volume-0.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names(tmp_path) == ["test-segmentation-0", "segmentation-2", "segmentation-10"]


def test_any_other_folder_gives_its_nifti_files(tmp_path):
    for name in ("patient10.nii", "patient9.nii.gz", ".hidden.nii", "notes.txt"):
        (tmp_path / name).touch()
    assert names(tmp_path) == ["patient9", "patient10"]


def test_a_single_file(tmp_path):
    (tmp_path / "volume-3.nii.gz").touch()
    assert names(tmp_path / "volume-3.nii.gz") == ["segmentation-3"]


def test_two_scans_of_one_name_are_refused(tmp_path):
    (tmp_path / "p.nii").touch()
    (tmp_path / "p.nii.gz").touch()
    with pytest.raises(InputError, match="a second file for 1 case"):
        find_scans(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "empty", "text.txt"])
def test_nothing_to_segment_is_an_error(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").touch()
    with pytest.raises(InputError, match=name):
        find_scans(tmp_path / name)


def test_shards_partition_the_scans():
    scans = list(range(7))
    parts = [take_shard(scans, f"{index}/3")[0] for index in range(3)]
    assert sorted(itertools.chain(*parts)) == scans
    assert take_shard(scans, "0/1") == (scans, "failures.json")
    assert take_shard(scans, "1/3")[1] == "failures-1-of-3.json"


@pytest.mark.parametrize("shard", ["3/3", "x", "1", "-1/2", "0/0"])
def test_bad_shards_are_refused(shard):
    with pytest.raises(InputError, match="--shard"):
        take_shard([], shard)
