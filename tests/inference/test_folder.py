import dataclasses
import json
import os
import threading

import nibabel
import numpy as np
import pytest

from dsdenseunet.data.scans import nifti
from dsdenseunet.inference.folder import STAGES, predict_folder
from dsdenseunet.inference.predict import NonFiniteOutputError
from dsdenseunet.inference.scans import find_scans
from tests.inference.bright import BRIGHT, Bright, make_scan, make_scans, run


@pytest.fixture
def scans(tmp_path):
    return make_scans(tmp_path / "scans")


@pytest.mark.parametrize("pipelined", [True, False])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_predictions_lie_on_their_scans_grid(scans, tmp_path, pipelined, suffix):
    outcome, _ = run(scans, tmp_path / "out", pipelined=pipelined, suffix=suffix)
    assert sorted(outcome.done) == ["segmentation-0", "segmentation-1", "segmentation-2"]
    assert all(outcome.seconds[stage] > 0 for stage in STAGES)
    for number in range(3):
        scan = nibabel.load(scans / f"volume-{number}.nii")
        prediction = nibabel.load(tmp_path / "out" / f"segmentation-{number}{suffix}")
        np.testing.assert_array_equal(prediction.affine, scan.affine)
        assert prediction.get_data_dtype() == np.uint8
        hu = np.asarray(scan.dataobj)
        np.testing.assert_array_equal(np.asarray(prediction.dataobj), (hu > 0).astype(int) + (hu > 100))


def test_a_second_run_does_nothing_and_says_so(scans, tmp_path):
    run(scans, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.nii.gz")}
    outcome, said = run(scans, tmp_path / "out")
    assert not outcome.done
    assert len(outcome.skipped) == 3
    assert "3 of 3 already done" in said
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.nii.gz")} == before


def test_what_is_outdated_is_done_again(scans, tmp_path):
    out = tmp_path / "out"
    run(scans, out)
    # The scan changes, a prediction is cut short, one is gone: each case is done again, no other.
    make_scan(scans / "volume-0.nii", seed=9)
    (out / "segmentation-1.nii.gz").write_bytes(b"cut")
    assert sorted(run(scans, out)[0].done) == ["segmentation-0", "segmentation-1"]
    (out / "segmentation-2.nii.gz").unlink()
    assert run(scans, out)[0].done == ["segmentation-2"]


@pytest.mark.parametrize("pipelined", [True, False])
def test_a_bad_scan_is_named_and_harms_no_other(scans, tmp_path, pipelined):
    (scans / "volume-1.nii").write_bytes((scans / "volume-1.nii").read_bytes()[:400])
    make_scan(scans / "volume-3.nii", low=-3000)
    outcome, said = run(scans, tmp_path / "out", pipelined=pipelined)
    assert sorted(outcome.done) == ["segmentation-0", "segmentation-2"]
    failures = json.loads((tmp_path / "out" / "failures.json").read_text())
    assert [(failure["stage"], failure["error"]) for failure in failures] == [
        ("read", "InputError"),
        ("network", "MemoryError"),
    ]
    assert failures[0]["scan"].endswith("volume-1.nii")
    assert "volume-1.nii" in said
    assert not (tmp_path / "out" / "segmentation-1.nii.gz").exists()


def test_failures_file_goes_when_the_scan_is_repaired(scans, tmp_path):
    whole = (scans / "volume-1.nii").read_bytes()
    (scans / "volume-1.nii").write_bytes(whole[:400])
    run(scans, tmp_path / "out")
    (scans / "volume-1.nii").write_bytes(whole)
    outcome, _ = run(scans, tmp_path / "out")
    assert outcome.done == ["segmentation-1"]
    assert not (tmp_path / "out" / "failures.json").exists()


def gone(path):
    path.unlink()


def link_that_leads_nowhere(path):
    path.unlink()
    path.symlink_to(path.parent / "unmounted" / "scan.nii")


def folder_instead(path):
    path.unlink()
    path.mkdir()


def pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("pipelined", [True, False])
@pytest.mark.parametrize("fault", [gone, link_that_leads_nowhere, folder_instead, pipe])
@pytest.mark.parametrize("again", [False, True])
def test_a_scan_that_cannot_even_be_looked_at_harms_no_other(scans, tmp_path, fault, pipelined, again):
    found = find_scans(scans).used
    if again:
        predict_folder([BRIGHT], found, tmp_path / "out", report=lambda line: None)
    fault(scans / "volume-1.nii")
    outcome = predict_folder([BRIGHT], found, tmp_path / "out", pipelined=pipelined, report=lambda line: None)
    assert sorted(outcome.done + outcome.skipped) == ["segmentation-0", "segmentation-2"]
    (failure,) = json.loads((tmp_path / "out" / "failures.json").read_text())
    assert failure["scan"] == str(scans / "volume-1.nii")
    assert failure["stage"] == "read"
    # Whether an earlier prediction is outdated cannot be told without its scan.
    assert (tmp_path / "out" / "segmentation-1.nii.gz").exists() == (
        again and fault in (gone, link_that_leads_nowhere)
    )


def test_several_lanes_share_the_scans(scans, tmp_path):
    for number in range(3, 8):
        make_scan(scans / f"volume-{number}.nii", number)
    outcome = predict_folder([BRIGHT] * 3, find_scans(scans).used, tmp_path / "out", report=lambda line: None)
    assert sorted(outcome.done) == [f"segmentation-{number}" for number in range(8)]


def test_reading_and_writing_overlap_with_the_network(scans, tmp_path):
    """The network does not return before the next scan is being read: no deadlock only if they overlap."""
    reading_second = threading.Event()
    read_image = nifti.read_image

    def watched(paths, **options):
        if paths[0].name == "volume-1.nii":
            reading_second.set()
        return read_image(paths, **options)

    class Waiting(Bright):
        def network_labels(self, image_DHW, *options, **more):
            assert reading_second.wait(20)
            return super().network_labels(image_DHW, *options, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nifti, "read_image", watched)
        outcome, _ = run(scans, tmp_path / "out", Waiting({}))
    assert len(outcome.done) == 3


def test_memory_is_bounded_whatever_the_number_of_scans(tmp_path, monkeypatch):
    """Images alive at any time: the one being segmented and the one read ahead."""
    alive, most = set(), 0
    lock = threading.Lock()

    class Counted(np.ndarray):
        def __del__(self):
            with lock:
                alive.discard(id(self))

    read_image = nifti.read_image

    def counted(path, **options):
        nonlocal most
        volume = read_image(path, **options)
        array = volume.array_DHW.view(Counted)
        with lock:
            alive.add(id(array))
            most = max(most, len(alive))
        return dataclasses.replace(volume, array_DHW=array)

    (tmp_path / "scans").mkdir()
    for number in range(8):
        make_scan(tmp_path / "scans" / f"volume-{number}.nii", number)
    monkeypatch.setattr(nifti, "read_image", counted)
    outcome, _ = run(tmp_path / "scans", tmp_path / "out")
    assert len(outcome.done) == 8
    assert most <= 2


@dataclasses.dataclass(frozen=True)
class Full(Bright):
    batch_size: int = 4
    patch_size: tuple = (12, 224, 224)

    def network_labels(self, image_DHW, *options, **more):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 GiB")


def test_exhausted_memory_says_what_was_asked_for_and_the_way_out(scans, tmp_path):
    outcome, _ = run(scans, tmp_path / "out", Full({"w": np.arange(3.0)}))
    message = outcome.failures[0].message
    assert "RESOURCE_EXHAUSTED" in message and "4 patch(es) of (12, 224, 224)" in message
    assert (
        "--batch_size=1" in message
        and "python -m experiments.plan_memory --config=configs/NAME.py" in message
    )


@dataclasses.dataclass(frozen=True)
class Broken(Bright):
    def network_labels(self, image_DHW, *options, **more):
        if image_DHW.min() < -500:
            raise NonFiniteOutputError(2, 17, [])
        return super().network_labels(image_DHW, *options, **more)


def test_a_scan_for_which_the_network_says_no_number_is_named_and_left_out(scans, tmp_path):
    make_scan(scans / "volume-1.nii", low=-900)
    outcome, said = run(scans, tmp_path / "out", Broken({}))
    assert sorted(outcome.done) == ["segmentation-0", "segmentation-2"]
    (failure,) = outcome.failures
    assert failure.scan.endswith("volume-1.nii") and failure.stage == "network"
    assert "NaN or infinity from the network (voxels: 17, the first in slice 2)" in failure.message
    assert "--phase=NAME" in failure.message and "volume-1.nii" in said
    assert not (tmp_path / "out" / "segmentation-1.nii.gz").exists()


def test_a_prediction_without_any_foreground_is_said_now_and_in_the_next_run(scans, tmp_path):
    nifti.write_new(scans / "volume-1.nii", np.full((4, 8, 8), -1000, np.int16), (1.0, 1.0, 1.0))
    for _ in range(2):
        outcome, said = run(scans, tmp_path / "out")
        assert outcome.empty == ["segmentation-1"]
        assert outcome.summary().endswith("; all background: segmentation-1")
        assert said.count("every voxel is background") == len(outcome.done) // 3
