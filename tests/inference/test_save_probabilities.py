"""Class probabilities beside predictions: what they say, when they are current, and who never reads them."""

import nibabel
import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import layouts
from dsdenseunet.evaluation.pairing import find_pairs
from dsdenseunet.inference import labelling
from dsdenseunet.inference.folder import predict_folder
from dsdenseunet.inference.scans import find_scans
from tests.inference.bright import BRIGHT, Bright, make_scans, run
from tests.inference.test_predict import Lopsided, predictor

SAVED = "segmentation-1_probabilities.nii.gz"


@pytest.fixture
def scans(tmp_path):
    return make_scans(tmp_path / "scans")


def test_they_sum_to_one_and_their_arg_max_is_the_labels(scans, tmp_path):
    network = predictor(Lopsided())
    outcome = predict_folder([network], find_scans(scans).used, tmp_path / "out", save_probabilities=True)
    assert not outcome.failures
    # The scans are stored along other axes each.
    for number in range(3):
        labels = nibabel.load(tmp_path / f"out/segmentation-{number}.nii.gz")
        file = nibabel.load(tmp_path / f"out/segmentation-{number}_probabilities.nii.gz")
        assert file.get_data_dtype() == np.uint16
        np.testing.assert_array_equal(file.affine, labels.affine)
        probabilities = file.get_fdata()
        assert probabilities.shape == (*labels.shape, 3)
        np.testing.assert_array_equal(probabilities.argmax(axis=-1), np.asarray(labels.dataobj))
        # Each of three is rounded by half a step at most, and one can be raised by a step.
        np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=2.5 / labelling.ONE + 1e-6)


def test_they_are_those_of_the_network_but_for_rounding():
    network = predictor(Lopsided())
    image = np.random.default_rng(0).integers(-300, 300, (9, 10, 11)).astype(np.int16)
    stored_CDHW = np.empty((3, *image.shape), np.uint16)
    labels = network.network_labels(image, probabilities_CDHW=stored_CDHW)
    exact = np.concatenate([np.asarray(part) for _, part in network.probabilities(image)])
    # Half a step of rounding, and one where a tie would hide the label.
    kept = np.moveaxis(stored_CDHW, 0, -1) / labelling.ONE
    np.testing.assert_allclose(kept, exact, rtol=0, atol=1.5 / labelling.ONE + 1e-7)
    np.testing.assert_array_equal(labels, network.network_labels(image))


def test_a_tie_that_rounding_makes_stays_with_the_label():
    probabilities = np.array([[0.3333333, 0.3333334, 0.3333333], [0.5, 0.5, 0.0]], np.float32)
    labels = labelling.labelled(probabilities)
    np.testing.assert_array_equal(labels, [1, 0])
    third, half = 65535 // 3, 32768
    np.testing.assert_array_equal(
        labelling.stored(probabilities, labels), [[third, third + 1, third], [half + 1, half, 0]]
    )


def test_thresholds_decide_in_the_order_of_classes_and_what_is_stored_agrees():
    """H-DenseUNet's: tumour from 0.9 on, liver from 0.5 on."""
    thresholds = (0.5, 0.9)
    below = np.nextafter(np.float32(0.5), np.float32(0))
    probabilities = np.array(
        [
            # The tumour's probability is the largest, and reaches nothing.
            [0.1, 0.3, 0.6],
            [0.5, below, 0.0],
            [0.45, 0.5, 0.05],
            [0.02, 0.08, 0.9],
            [0.0, 0.1, 0.9 - 1e-6],
            [0.8, 0.1, 0.1],
            [0.5, 0.5, np.nan],
        ],
        np.float32,
    )
    labels = labelling.labelled(probabilities, thresholds)
    np.testing.assert_array_equal(labels, [0, 0, 1, 2, 0, 0, labelling.NO_NUMBER])
    np.testing.assert_array_equal(labelling.labelled(probabilities[:1], (0.2, 0.5)), [2])
    stored = np.asarray(labelling.stored(probabilities, labels, thresholds))
    for slope in (np.float64(1) / labelling.ONE, np.float64(np.float32(1 / labelling.ONE))):
        again = labelling.labelled(stored[:-1] * slope, thresholds)
        np.testing.assert_array_equal(again, labels[:-1])
    np.testing.assert_allclose(
        stored[:-1] / labelling.ONE, probabilities[:-1], rtol=0, atol=2 / labelling.ONE
    )


def test_predictions_without_them_are_done_again_and_then_skipped(scans, tmp_path):
    out = tmp_path / "out"
    run(scans, out)
    assert not (out / SAVED).exists()
    assert len(run(scans, out, save_probabilities=True)[0].done) == 3
    assert len(run(scans, out, save_probabilities=True)[0].skipped) == 3
    # Labels with probabilities are no other labels.
    assert len(run(scans, out)[0].skipped) == 3
    (out / SAVED).write_bytes(b"cut")
    assert run(scans, out, save_probabilities=True)[0].done == ["segmentation-1"]


def test_those_of_an_outdated_prediction_do_not_stay(scans, tmp_path):
    out = tmp_path / "out"
    run(scans, out, save_probabilities=True)
    run(scans, out, Bright(BRIGHT.variables, threshold=5))
    assert not list(out.glob("*_probabilities*"))
    run(scans, out, save_probabilities=True)
    (scans / "volume-1.nii").write_bytes(b"no scan any more")
    run(scans, out, save_probabilities=True)
    assert not (out / SAVED).exists() and (out / SAVED.replace("1", "2")).exists()


def test_somebody_elses_file_is_never_overwritten(scans, tmp_path):
    out = tmp_path / "out"
    run(scans, out)
    (out / SAVED).write_bytes(b"an expert's")
    outcome, said = run(scans, out, save_probabilities=True)
    assert len(outcome.failures) == 1 and "predict did not write" in said
    assert (out / SAVED).read_bytes() == b"an expert's"


@pytest.mark.parametrize("written", ["labels", "probabilities"])
def test_what_a_stopped_run_left_is_written_anew(scans, tmp_path, written, monkeypatch):
    out = tmp_path / "out"

    def stop(*arguments, **facts):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if written == "labels":
            patch.setattr("dsdenseunet.inference.folder.write_probabilities", stop)
        else:
            patch.setattr("dsdenseunet.inference.records.Records.finish", stop)
        with pytest.raises(KeyboardInterrupt):
            run(scans, out, save_probabilities=True, pipelined=False)
    assert (out / "segmentation-0.nii.gz").exists()
    assert (out / "segmentation-0_probabilities.nii.gz").exists() == (written == "probabilities")
    outcome, _ = run(scans, out, save_probabilities=True)
    assert len(outcome.done) == 3


def test_no_command_takes_them_for_scans_or_labels(scans, tmp_path):
    out = tmp_path / "out"
    run(scans, out, save_probabilities=True)
    run(scans, tmp_path / "references")
    pairs = find_pairs(out, tmp_path / "references")
    assert [pair.prediction.name for pair in pairs.used] == [f"segmentation-{n}.nii.gz" for n in range(3)]
    beside = [pair.probabilities.name for pair in pairs.used]
    assert beside == [f"segmentation-{n}_probabilities.nii.gz" for n in range(3)]
    assert not pairs.passed_over
    for find in (find_scans, layouts.find_cases):
        with pytest.raises(InputError, match="no scan"):
            find(out)
    with pytest.raises(InputError, match="no scan"):
        find_scans(out / SAVED)
    # A scan of such a name is a scan where no prediction lies beside it.
    (scans / "volume-0.nii").rename(scans / "patient_probabilities.nii")
    assert "patient_probabilities" in [scan.name for scan in find_scans(scans).used]
