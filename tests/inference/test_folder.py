import dataclasses
import json
import threading

import nibabel
import numpy as np
import pytest

from dsdenseunet.data import nifti
from dsdenseunet.errors import InputError
from dsdenseunet.inference.folder import STAGES, fingerprint, predict_folder
from dsdenseunet.inference.predict import NonFiniteOutputError
from dsdenseunet.inference.scans import find_scans


@dataclasses.dataclass(frozen=True)
class Bright:
    """Stands in for a Predictor: tumour above 100 HU, liver above 0."""

    variables: dict
    threshold: int = 0

    def network_labels(self, image_DHW, progress):
        progress(len(image_DHW))
        if image_DHW.min() < -2000:
            raise MemoryError("too large for this device")
        return (image_DHW > self.threshold).astype(np.uint8) + (image_DHW > 100)

    def clean(self, labels_DHW, spacing_mm):
        return labels_DHW


BRIGHT = Bright({"w": np.arange(3.0)})


def make_scan(path, seed=0, axcodes="LPS", low=-500):
    image = np.random.default_rng(seed).integers(low, 500, (4, 6, 5)).astype(np.int16)
    nifti.write_new(path, image, (2.5, 0.7, 0.8), axcodes)
    return image


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for number, axcodes in enumerate(("LPS", "RAS", "SAR")):
        make_scan(folder / f"volume-{number}.nii", number, axcodes)
    return folder


def run(folder, output, predictor=BRIGHT, **options):
    said = []
    outcome = predict_folder([predictor], find_scans(folder).used, output, report=said.append, **options)
    return outcome, "\n".join(said)


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


@pytest.mark.parametrize(
    "other", [Bright({"w": np.arange(3.0) + 1e-6}), Bright(BRIGHT.variables, threshold=5)]
)
def test_other_weights_or_options_make_predictions_outdated(scans, tmp_path, other):
    run(scans, tmp_path / "out")
    assert fingerprint(other) != fingerprint(BRIGHT)
    assert len(run(scans, tmp_path / "out", other)[0].done) == 3


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


def test_an_outdated_prediction_of_a_scan_that_now_fails_does_not_stay(scans, tmp_path):
    run(scans, tmp_path / "out")
    (scans / "volume-1.nii").write_bytes(b"no scan any more")
    run(scans, tmp_path / "out")
    assert not (tmp_path / "out" / "segmentation-1.nii.gz").exists()


def test_somebody_elses_files_are_never_overwritten(scans, tmp_path):
    truth = scans / "segmentation-0.nii"
    truth.write_bytes(b"the truth")
    with pytest.raises(InputError, match="no prediction has written"):
        run(scans, scans, suffix=".nii")
    assert truth.read_bytes() == b"the truth"


def test_a_scan_is_never_its_own_prediction(tmp_path):
    make_scan(tmp_path / "patient.nii")
    with pytest.raises(InputError, match="no prediction has written"):
        run(tmp_path, tmp_path, suffix=".nii")


def test_several_lanes_share_the_scans(scans, tmp_path):
    for number in range(3, 8):
        make_scan(scans / f"volume-{number}.nii", number)
    outcome = predict_folder([BRIGHT] * 3, find_scans(scans).used, tmp_path / "out", report=lambda line: None)
    assert sorted(outcome.done) == [f"segmentation-{number}" for number in range(8)]


def test_reading_and_writing_overlap_with_the_network(scans, tmp_path):
    """The network does not return before the next scan is being read: no deadlock only if they overlap."""
    reading_second = threading.Event()
    read_image = nifti.read_image

    def watched(path):
        if path.name == "volume-1.nii":
            reading_second.set()
        return read_image(path)

    class Waiting(Bright):
        def network_labels(self, image_DHW, progress):
            assert reading_second.wait(20)
            return super().network_labels(image_DHW, progress)

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

    def counted(path):
        nonlocal most
        volume = read_image(path)
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

    def network_labels(self, image_DHW, progress):
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
    def network_labels(self, image_DHW, progress):
        if image_DHW.min() < -500:
            raise NonFiniteOutputError(2, 17, [])
        return super().network_labels(image_DHW, progress)


def test_a_scan_for_which_the_network_says_no_number_is_named_and_left_out(scans, tmp_path):
    make_scan(scans / "volume-1.nii", low=-900)
    outcome, said = run(scans, tmp_path / "out", Broken({}))
    assert sorted(outcome.done) == ["segmentation-0", "segmentation-2"]
    (failure,) = outcome.failures
    assert failure.scan.endswith("volume-1.nii") and failure.stage == "network"
    assert "NaN or infinity from the network (voxels: 17, the first in slice 2)" in failure.message
    assert "--phase=1 or --phase=2" in failure.message and "volume-1.nii" in said
    assert not (tmp_path / "out" / "segmentation-1.nii.gz").exists()
