"""The prediction command, as a user runs it."""

import json
import os
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from dsdenseunet.data.scans import nifti
from dsdenseunet.training.checkpoint import BestRecord, Checkpoints
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.state import create_state
from tests.training.tiny import get_config


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


def make_run(folder, seed=0):
    """A run with random best weights of phase 1."""
    config = get_config()
    state = create_state(build_recipe(config), seed=seed)
    checkpoints = Checkpoints(folder, "phase1", config)
    checkpoints.save_best(state, BestRecord(1, 1, {"mean_dice": 0.5}))
    checkpoints.close()
    return folder


def run(workdir, source, output, *arguments):
    command = [sys.executable, "-m", "experiments.predict", f"--workdir={workdir}", f"--input={source}"]
    return subprocess.run(
        [*command, f"--output={output}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(workdir / "xla")},
    )


def test_a_folder_is_segmented_a_bad_scan_named_and_a_second_run_skips(workdir, tmp_path):
    scans, output = tmp_path / "scans", tmp_path / "out"
    rng = np.random.default_rng(0)
    # One larger than a patch, one smaller, one that is cut off.
    for number, shape in enumerate(((7, 40, 36), (3, 20, 32), (8, 32, 32))):
        hu = rng.integers(-300, 300, shape).astype(np.int16)
        nifti.write_new(scans / f"volume-{number}.nii", hu, (2.0, 0.7, 0.8), "LPS")
    bad = scans / "volume-2.nii"
    bad.write_bytes(bad.read_bytes()[:1000])

    first = run(workdir, scans, output, "--mirror=W", "--clean_up=largest:liver,within:tumour:liver:5")
    assert first.returncode == 1, first.stderr
    assert "2 segmented, 0 already done, 1 failed" in first.stdout
    for stage in ("read", "network", "clean-up", "write"):
        assert f"{stage} " in first.stdout
    (failure,) = json.loads((output / "failures.json").read_text())
    assert failure["scan"] == str(bad)
    for number in (0, 1):
        scan = nibabel.load(scans / f"volume-{number}.nii")
        prediction = nibabel.load(output / f"segmentation-{number}.nii.gz")
        assert prediction.get_data_dtype() == np.uint8
        assert prediction.shape == scan.shape
        np.testing.assert_array_equal(prediction.affine, scan.affine)

    bad.unlink()
    again = run(workdir, scans, output, "--mirror=w", "--clean_up=largest:liver,within:tumour:liver:5")
    assert again.returncode == 0, again.stderr
    assert "2 of 2 already done with this code, these weights and options: skipped" in again.stdout
    assert not (output / "failures.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workdir=nowhere",), "no such folder"),
        (("--workdir=tests",), "no best weights of any phase"),
        (("--phase=phase2",), "no best weights of phase2 (phases here: phase1)"),
        (("--input=nowhere",), "no such file or folder"),
        (("--overlap=1.5",), "error: --overlap"),
        (("--batch_size=0",), "error: --batch_size"),
        (("--clean_up=within:tumour:liver:nan",), "error: --clean_up"),
        (("--clean_up=largest:heart",), "one of liver, tumour"),
        (("--mirror=WX",), "--mirror=HW"),
        (("--shard=2/2",), "0 <= I < N"),
    ],
)
def test_bad_arguments_give_one_message_and_write_nothing(workdir, tmp_path, arguments, message):
    nifti.write_new(tmp_path / "scan.nii", np.zeros((4, 32, 32), np.int16), (1.0, 1.0, 1.0))
    result = run(workdir, tmp_path / "scan.nii", tmp_path / "out", *arguments)
    assert result.returncode == 2
    # A flag that is given twice is told of first.
    said = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert said[0].startswith("error: ")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert "--config." not in result.stderr, "predict has no such flag"
    assert not (tmp_path / "out").exists()


def test_several_runs_are_averaged_in_any_order(workdir, tmp_path):
    other = make_run(tmp_path / "other", seed=1)
    hu = np.random.default_rng(0).integers(-300, 300, (5, 32, 32)).astype(np.int16)
    nifti.write_new(tmp_path / "scan.nii", hu, (1.0, 1.0, 1.0))
    first = run(
        workdir, tmp_path / "scan.nii", tmp_path / "out", f"--workdir={other}", "--save_probabilities"
    )
    assert first.returncode == 0, first.stderr
    assert f"tiny from {workdir} and tiny from {other}" in first.stdout
    assert nibabel.load(tmp_path / "out/scan_probabilities.nii.gz").shape == (32, 32, 5, 3)
    record = json.loads((tmp_path / "out/.records/scan.json").read_text())
    assert sorted(record["runs"]) == sorted([str(workdir), str(other)])
    again = run(
        other, tmp_path / "scan.nii", tmp_path / "out", f"--workdir={workdir}", "--save_probabilities"
    )
    assert "1 already done" in again.stdout
    missing = run(workdir, tmp_path / "scan.nii", tmp_path / "out", f"--workdir={tmp_path / 'absent'}")
    assert missing.returncode == 2 and f"error: {tmp_path / 'absent'}" in missing.stderr
