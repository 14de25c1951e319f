"""The doctor judges by the task: MR of two channels has no Hounsfield units, no liver and no lungs."""

import dataclasses

import nibabel as nib
import numpy as np
import pytest

from dsdenseunet.data.doctor.examination import examine
from dsdenseunet.data.scans import nifti
from dsdenseunet.tasks.channel import Channel
from dsdenseunet.tasks.task import Region, Task

TASK = Task(
    name="brain",
    classes=("background", "anterior", "posterior", "cyst"),
    regions=(Region("anterior", (1,)), Region("posterior", (2, 3))),
    channels=(Channel("T1", "zscore"), Channel("T2", "zscore")),
    ignore_label=9,
    stratify_by="",
    select_by=("anterior",),
    detect=(),
    clean_up=(),
)
IMAGE, LABELS = "imagesTr/p_1.nii.gz", "labelsTr/p_1.nii.gz"


@pytest.fixture
def data(tmp_path):
    """Values from 0 to 1, as float32; of the labels one is ignored."""
    rng = np.random.default_rng(0)
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])
    for name in ("p_0", "p_1"):
        labels = rng.integers(0, 4, (6, 5, 4)).astype(np.uint8)
        labels[0, 0, 0] = 9
        for folder, array in (("imagesTr", rng.random((6, 5, 4, 2), np.float32)), ("labelsTr", labels)):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, affine), tmp_path / "data" / folder / f"{name}.nii.gz")
    return tmp_path / "data"


def change(path, change_array):
    volume = nib.load(path)
    array = np.asanyarray(volume.dataobj).copy()
    change_array(array)
    nib.save(nib.Nifti1Image(array, volume.affine), path)


def test_sound_cases_have_no_finding_and_are_copied_exactly(data, tmp_path):
    findings, manifest = examine(data, task=TASK, repair_to=tmp_path / "copies")
    assert findings == []
    assert manifest["task"] == TASK.to_config()
    assert len(manifest["copies"]) == 2
    for name in (IMAGE, LABELS):
        first, second = (np.asanyarray(nib.load(root / name).dataobj) for root in (data, tmp_path / "copies"))
        assert first.dtype == second.dtype and np.array_equal(first, second)
    copied = nifti.read_image(tmp_path / "copies" / IMAGE, channels=TASK.channels)
    assert copied.spacing_mm == nifti.read_image(data / IMAGE, channels=TASK.channels).spacing_mm


@pytest.mark.parametrize(
    ("name", "change_array", "severity", "check", "found"),
    [
        (IMAGE, lambda a: a[..., 1].fill(3), "error", "image-constant", "channel T2: all voxels have one"),
        (IMAGE, lambda a: a[0, 0].fill(np.nan), "error", "nan", "channel T1: 4 NaN or infinite voxels"),
        (LABELS, lambda a: a.fill(0), "warning", "label-empty", "no voxel of anterior or posterior"),
        (
            LABELS,
            lambda a: a[1, 1].fill(4),
            "error",
            "label-values",
            "label values 4; expected whole numbers",
        ),
    ],
)
def test_faults_are_told_in_the_tasks_words(data, name, change_array, severity, check, found):
    change(data / name, change_array)
    findings, _ = examine(data, task=TASK)
    assert {(finding.severity, finding.check, finding.path) for finding in findings} == {
        (severity, check, data / name)
    }
    assert any(found in finding.found for finding in findings)
    assert not any(word in str(finding) for finding in findings for word in ("HU", "liver", "CT"))


def test_a_repaired_copy_has_zeros_where_a_channel_had_no_number(data, tmp_path):
    before = np.asanyarray(nib.load(data / IMAGE).dataobj).copy()
    change(data / IMAGE, lambda array: array[0, 0, 0].fill(np.nan))
    examine(data, task=TASK, repair_to=tmp_path / "copies")
    after = np.asanyarray(nib.load(tmp_path / "copies" / IMAGE).dataobj)
    assert (after[0, 0, 0] == 0).all()
    before[0, 0, 0] = 0
    assert np.array_equal(before, after)
    assert examine(tmp_path / "copies", task=TASK)[0] == []


def test_fractions_tell_two_scans_apart(data):
    """Rounded to whole numbers, both would be the same zeros and ones."""
    checkers = np.indices((6, 5, 4, 2)).sum(axis=0) % 2
    change(data / IMAGE, lambda array: np.copyto(array, checkers * 0.8 + 0.1))
    change(data / IMAGE.replace("p_1", "p_0"), lambda array: np.copyto(array, checkers * 0.8 + 0.15))
    assert examine(data, task=TASK)[0] == []


def test_an_image_without_the_tasks_channels_is_named(data):
    one = dataclasses.replace(TASK, channels=TASK.channels[:1])
    findings, _ = examine(data, task=one)
    assert [finding.check for finding in findings] == ["unreadable"] * 2
    assert findings[0].found == "dimensions 6 x 5 x 4 x 2"
