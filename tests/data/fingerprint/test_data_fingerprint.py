import json

import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.fingerprint.data_fingerprint import fingerprint
from dsdenseunet.tasks import decathlon, lits
from tests.data.fingerprint import scans

SHAPE = (6, 5, 4)


def write_by_hand(folder):
    """Two channels; the first case has two pieces of label 1 and an ignored voxel, the second no label."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[0:2, 1, 0] = 1
    labels[4, 1, 3] = 1
    labels[5, 4, 3] = 2
    image = np.zeros((*SHAPE, 2), np.float32)
    image[0, 1, 0] = 10, 0.5
    image[1, 1, 0] = 20, 0.5
    image[4, 1, 3] = 60, 0.5
    scans.write_case(folder, "a_1", image, labels, (1, 2, 3))
    scans.write_case(folder, "a_2", image, np.zeros(SHAPE, np.uint8), (1, 2, 5))
    return scans.describe(folder, ["T1", "T2"], ["background", "blob", "ignore"])


def test_fingerprint_by_hand(tmp_path):
    data = write_by_hand(tmp_path)
    seen = []
    task = decathlon.read_task(data)
    found = fingerprint(data, task, on_case=lambda *progress: seen.append(progress))
    assert seen == [(1, 2, "a_1"), (2, 2, "a_2")]
    first, second = found.cases
    # Axes are (D, H, W): z, y, x.
    assert (first.shape, first.axes, first.dtype) == ((4, 5, 6), "RAS", "float32")
    assert first.spacing_mm == pytest.approx((3, 2, 1))
    assert (first.class_voxels, first.ignored_voxels) == ((116, 3), 1)
    blob = first.regions["blob"]
    assert (blob.voxels, blob.box, blob.pieces) == (3, ((0, 4), (1, 2), (0, 5)), 2)
    assert blob.sides == (4, 1, 5)
    assert blob.largest_share == pytest.approx(2 / 3, abs=1e-4)
    t1, t2 = first.foreground
    assert (t1.voxels, t1.mean, t1.minimum, t1.median, t1.maximum) == (3, 30, 10, 20, 60)
    assert (t2.mean, t2.deviation) == (0.5, 0)
    assert first.everything[0].mean == pytest.approx(90 / 120)
    assert first.zero_share == pytest.approx((117 / 120, 117 / 120))
    assert second.regions == {}
    assert second.foreground == (None, None)
    # Only the case with a foreground counts for it.
    assert found.foreground[0].mean == 30
    assert found.median_spacing_mm == pytest.approx((4, 2, 1))
    assert found.median_shape == (4, 5, 6)
    assert found.class_shares == pytest.approx((236 / 239, 3 / 239))
    assert [case.name for case in found.having("blob")] == ["a_1"]
    written = json.loads(json.dumps(found.as_json()))
    assert written["summary"]["regions"]["blob"]["median_pieces"] == 2
    assert written["summary"]["spacing_mm"] == {
        "least": [3, 2, 1],
        "median": [4, 2, 1],
        "largest": [5, 2, 1],
    }
    assert written["cases"][1]["foreground"] == [None, None]


def test_a_case_that_cannot_be_read_fails_alone(tmp_path):
    data = scans.write_boxes(tmp_path / "data", cases=3)
    (data / "imagesTr/toy_0.nii.gz").write_bytes(b"no volume")
    labels = np.full((16, 20, 24), 7, np.uint8)
    scans.write_case(data, "toy_2", np.zeros((16, 20, 24), np.float32), labels)
    found = fingerprint(data, decathlon.read_task(data))
    assert [case.name for case in found.cases] == ["toy_1"]
    (first, unread), (second, outside) = found.failures
    assert (first, second) == ("toy_0", "toy_2")
    assert "toy_0.nii.gz" in unread
    assert "7" in outside and "toy_2.nii.gz" in outside


def test_nothing_labelled_and_nothing_readable_are_one_message(tmp_path):
    data = scans.write_boxes(tmp_path / "data", cases=2)
    task = decathlon.read_task(data)
    for path in (data / "imagesTr").iterdir():
        path.write_bytes(b"no volume")
    with pytest.raises(InputError, match=r"2 scans, none of which can be read.*toy_0"):
        fingerprint(data, task)
    for path in (data / "labelsTr").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="2 scans, none of them with labels"):
        fingerprint(data, task)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no scan"):
        fingerprint(tmp_path / "empty", lits.TASK)
