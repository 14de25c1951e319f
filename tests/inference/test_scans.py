import itertools

import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.inference.scans import find_scans, prediction_name, take_shard
from tests.data.trees import touch


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


def test_scans_of_any_name_beside_those_of_a_known_layout_are_segmented_too(tmp_path):
    for name in ("volume-0.nii", "segmentation-0.nii", "patient_x.nii.gz", "b.NII.GZ", "sub/other.nii"):
        touch(tmp_path / name)
    found = find_scans(tmp_path)
    assert [scan.name for scan in found.used] == ["b", "patient_x", "segmentation-0"]
    assert {other.path.name: other.why.split(";")[0] for other in found.passed_over} == {
        "segmentation-0.nii": "labels",
        "other.nii": "in a subfolder",
    }


TWO_SERIES = [f"{name}_{number:04}" for name in "pq" for number in range(6)]


@pytest.mark.parametrize(
    ("files", "used", "further"),
    [
        (["a_0000.nii", "b_0000.nii"], ["a", "b"], []),
        (["a_0000.nii", "a_0001.nii", "b_0000.nii", "b_0001.nii"], ["a", "b"], ["a_0001.nii", "b_0001.nii"]),
        (["a_0000.nii"], ["a"], []),
        # Numbers of patients look the same; each of them is a scan.
        (["p_0000.nii", "p_0001.nii", "p_0002.nii"], ["p_0000", "p_0001", "p_0002"], []),
        (["p_0001.nii", "q_0002.nii"], ["p_0001", "q_0002"], []),
        (["p_0000.nii", "q_0000.nii", "q_0001.nii"], ["p_0000", "q_0000", "q_0001"], []),
        (["p.nii", "p_0000.nii"], ["p", "p_0000"], []),
        (
            [f"{p}_{n:04}.nii" for p in "pq" for n in range(6)],
            [f"{p}_{n:04}" for p in "pq" for n in range(6)],
            [],
        ),
    ],
)
def test_nnunets_channel_suffix_is_told_from_a_number(tmp_path, files, used, further):
    for name in files:
        touch(tmp_path / name)
    found = find_scans(tmp_path)
    assert [scan.name for scan in found.used] == used
    assert [other.path.name for other in found.passed_over] == further
    assert all("channel" in other.why for other in found.passed_over)


@pytest.mark.parametrize(
    ("scans", "output"),
    [
        ("scans", "scans"),
        ("scans", "scans/out"),
        ("scans/a.nii", "scans"),
        ("link", "scans"),
        ("scans", "link/out"),
    ],
)
def test_predictions_among_their_scans_are_refused(tmp_path, scans, output):
    touch(tmp_path / "scans/a.nii")
    (tmp_path / "link").symlink_to("scans")
    with pytest.raises(InputError, match="would lie among the scans"):
        find_scans(tmp_path / scans, tmp_path / output)
    assert [path.name for path in (tmp_path / "scans").iterdir()] == ["a.nii"]


@pytest.mark.parametrize(
    ("scans", "output"), [("scans", "out"), ("scans", "."), ("scans/a.nii", "scans/out")]
)
def test_predictions_elsewhere_are_not(tmp_path, scans, output):
    touch(tmp_path / "scans/a.nii")
    assert len(find_scans(tmp_path / scans, tmp_path / output).used) == 1


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
