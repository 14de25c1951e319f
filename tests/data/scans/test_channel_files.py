"""Channels that are a file each, as nnU-Net keeps them, against one file of all channels."""

import dataclasses
import json

import nibabel as nib
import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.cache import Cache
from dsdenseunet.data.doctor.examination import examine
from dsdenseunet.data.preparation import prepare
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.layouts import find_cases
from dsdenseunet.inference.scans import find_scans
from dsdenseunet.tasks import decathlon
from dsdenseunet.tasks.channel import Channel

AFFINE = np.diag([-1.0, 1.0, 2.0, 1.0])
CHANNELS = (Channel("T1", "zscore"), Channel("T2", "zscore"))


def save(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


@pytest.fixture
def data(tmp_path):
    """Cases a, b and c: the second channel of float32, the first of int16."""
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    for case in "abc":
        first = rng.integers(0, 900, (6, 5, 4), np.int16)
        second = rng.random((6, 5, 4), np.float32)
        save(root / f"imagesTr/{case}_0000.nii.gz", first)
        save(root / f"imagesTr/{case}_0001.nii.gz", second)
        save(root / f"labelsTr/{case}.nii.gz", rng.integers(0, 3, (6, 5, 4)).astype(np.uint8))
        save(tmp_path / f"joined/imagesTr/{case}.nii.gz", np.stack([first, second], axis=-1))
    (tmp_path / "joined/labelsTr").symlink_to(root / "labelsTr")
    values = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "whole": [1, 2], "core": 2},
        "regions_class_order": [1, 2],
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(values))
    return root


def test_they_are_prepared_as_one_file_of_all_channels_is(data, tmp_path):
    task = decathlon.task_of(data)
    rows = {}
    for kind, root in (("split", data), ("joined", tmp_path / "joined")):
        rows[kind] = prepare(find_cases(root, 2).used, tmp_path / kind, task=task)
        assert [(row.name, row.status) for row in rows[kind]] == [(case, "new") for case in "abc"]
    split, joined = (Cache.open(tmp_path / kind) for kind in rows)
    for case in "abc":
        assert np.array_equal(split.case(case).image_DHW, joined.case(case).image_DHW)
        assert split.case(case).statistics == joined.case(case).statistics
    assert examine(data, task=task)[0] == []

    # Each of the files is one of the case's.
    assert {row.status for row in prepare(find_cases(data, 2).used, tmp_path / "split", task=task)} == {
        "current"
    }
    save(data / "imagesTr/b_0001.nii.gz", np.full((6, 5, 4), 2, np.int16))
    again = prepare(find_cases(data, 2).used, tmp_path / "split", task=task)
    assert [row.status for row in again] == ["current", "new", "current"]


def test_a_channel_that_is_missing_is_named_beside_the_other(data, tmp_path):
    gone, there = data / "imagesTr/b_0000.nii.gz", data / "imagesTr/b_0001.nii.gz"
    gone.unlink()
    rows = prepare(find_cases(data, 2).used, tmp_path / "cache", task=decathlon.task_of(data))
    assert [row.status for row in rows] == ["new", "failed", "new"]
    assert str(gone) in rows[1].error and str(there) in rows[1].error and "channel T1" in rows[1].error
    (finding,) = examine(data, task=decathlon.task_of(data))[0]
    assert (finding.check, finding.path) == ("channel-missing", gone)
    assert str(there) in finding.found


@pytest.mark.parametrize(
    ("shape", "affine", "found"),
    [
        ((6, 5, 3), AFFINE, "6 x 5 x 3 voxels"),
        ((6, 5, 4), AFFINE * 1.2, "voxels away from the first"),
    ],
)
def test_a_channel_on_another_grid_is_named_beside_the_first(data, tmp_path, shape, affine, found):
    first, second = (data / f"imagesTr/b_000{number}.nii.gz" for number in range(2))
    save(second, np.random.default_rng(1).random(shape, np.float32), affine)
    rows = prepare(find_cases(data, 2).used, tmp_path / "cache", task=decathlon.task_of(data))
    assert [row.status for row in rows] == ["new", "failed", "new"]
    assert found in rows[1].error and str(first) in rows[1].error and str(second) in rows[1].error
    (finding,) = examine(data, task=decathlon.task_of(data))[0]
    assert (finding.check, finding.path) == ("channel-grid", second)
    assert str(first) in finding.found


def test_a_channel_may_be_stored_along_other_axes(data):
    files = data / "imagesTr/a_0000.nii.gz", data / "imagesTr/a_0001.nii.gz"
    before = nifti.read_image(files, channels=CHANNELS)
    volume = nib.load(files[1])
    nib.save(volume.as_reoriented([[1, 1], [0, -1], [2, 1]]), files[1])
    after = nifti.read_image(files, channels=CHANNELS)
    assert nib.load(files[1]).shape != volume.shape
    assert np.array_equal(before.array_DHW, after.array_DHW)


def test_the_doctors_copies_lie_as_the_originals_do(data, tmp_path):
    task = decathlon.task_of(data)
    _, manifest = examine(data, task=task, repair_to=tmp_path / "copies")
    assert [len(copy["images"]) for copy in manifest["copies"]] == [2, 2, 2]
    for number in range(2):
        name = f"imagesTr/a_000{number}.nii.gz"
        first, second = (np.asanyarray(nib.load(root / name).dataobj) for root in (data, tmp_path / "copies"))
        assert np.array_equal(first, second)


def test_scans_to_segment_have_all_their_channels(data):
    images = data / "imagesTr"
    expected = {case: (images / f"{case}_0000.nii.gz", images / f"{case}_0001.nii.gz") for case in "abc"}
    for place in (data, images):
        assert {scan.name: scan.images for scan in find_scans(place, channels=2).used} == expected
    # One channel's file stands for its scan.
    (scan,) = find_scans(images / "b_0001.nii.gz", channels=2).used
    assert (scan.name, scan.images) == ("b", expected["b"])


@pytest.mark.parametrize("place", [".", "scans"])
def test_without_labels_one_scan_or_an_incomplete_one_is_recognised(tmp_path, place):
    for name in ("p_0000", "p_0001", "q_0001"):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / f"{name}.nii").touch()
    found = find_scans(tmp_path / place, channels=2)
    assert [(scan.name, [path.name for path in scan.images]) for scan in found.used] == [
        ("p", ["p_0000.nii", "p_0001.nii"]),
        ("q", ["q_0000.nii", "q_0001.nii"]),
    ]


def test_two_files_for_one_channel_are_refused(data):
    save(data / "imagesTr/a_0001.nii", np.zeros((6, 5, 4), np.int16))
    with pytest.raises(InputError, match="a, channel 1"):
        find_cases(data, 2)


def test_channels_that_the_task_does_not_have_are_passed_over_by_name(data):
    found = find_cases(data, 1)
    assert [len(case.images) for case in found.used] == [1, 1, 1]
    assert {other.path.name for other in found.passed_over} == {f"{case}_0001.nii.gz" for case in "abc"}
    assert {other.why for other in found.passed_over} == {"a further channel; the task has 1"}


def test_a_ct_among_other_channels_is_read_alike_in_either_form(data, tmp_path):
    """Only where all channels are CT are values rounded to whole Hounsfield units."""
    channels = (dataclasses.replace(CHANNELS[0], normalisation="window", numbers=(0.0, 900.0)), CHANNELS[1])
    save(data / "imagesTr/a_0000.nii.gz", np.full((6, 5, 4), 0.5, np.float32))
    files = data / "imagesTr/a_0000.nii.gz", data / "imagesTr/a_0001.nii.gz"
    save(tmp_path / "j.nii", np.stack([np.asanyarray(nib.load(path).dataobj) for path in files], axis=-1))
    split, joined = (nifti.read_image(path, channels=channels) for path in (files, tmp_path / "j.nii"))
    assert np.array_equal(split.array_DHW, joined.array_DHW)
    assert (split.array_DHW[..., 0] == 0.5).all()
