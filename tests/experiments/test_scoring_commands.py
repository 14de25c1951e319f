"""The commands that score, pack and examine, as a user runs them."""

import json
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from dsdenseunet.data.samples import phantom
from dsdenseunet.data.scans import nifti


def run(module, *arguments, cwd=None):
    command = [sys.executable, "-m", f"experiments.{module}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=cwd)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Phantoms, and predictions that are their labels moved by one voxel."""
    folder = tmp_path_factory.mktemp("scoring")
    phantom.write_phantoms(folder / "data", 5, seed=3, size=(40, 48, 48))
    for number in range(5):
        labels = nifti.read_labels(folder / "data" / f"segmentation-{number}.nii")
        moved = np.roll(labels.array_DHW, 1, 1)
        nifti.write_labels(folder / "predictions" / f"volume-{number}.nii.gz", moved, labels.grid)
        nifti.write_labels(folder / "perfect" / f"liver_{number}.nii.gz", labels.array_DHW, labels.grid)
    return folder


def test_a_folder_is_scored_and_shown(data, tmp_path):
    done = run(
        "evaluate",
        f"--predictions={data / 'predictions'}",
        f"--references={data / 'data'}",
        f"--compare={data / 'perfect'}",
        f"--out={tmp_path}",
        "--workers=1",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"5 cases; {tmp_path / 'report.html'}"
    page = (tmp_path / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert page.count("data:image/png;base64,") == 5
    for text in ("official", "corrected", "lesion_dice_per_case", "best: ", "worst: ", "5 cases are too few"):
        assert text in page
    for name in ("cases.csv", "lesions.csv", "scores.json", "overlay_median.png"):
        assert (tmp_path / name).stat().st_size > 0


def test_a_bad_pair_is_told_and_ends_with_status_1(data, tmp_path):
    """Its file, why, the list of failures, the page, and the scores of the others."""
    shutil.copytree(data / "predictions", tmp_path / "predictions")
    bad = tmp_path / "predictions" / "volume-3.nii.gz"
    bad.write_bytes(b"x")
    command = (
        f"--predictions={tmp_path / 'predictions'}",
        f"--references={data / 'data'}",
        f"--out={tmp_path / 'out'}",
        "--workers=2",
    )
    done = run("evaluate", *command)
    assert done.returncode == 1, done.stderr
    assert f"not scored, see failures.json: {bad}" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("4 cases; ")
    assert json.loads((tmp_path / "out" / "failures.json").read_text())[0]["scan"] == str(bad)
    assert "1 not scored" in (tmp_path / "out" / "report.html").read_text()
    bad.unlink()
    bad.mkdir()
    again = run("evaluate", *command)
    assert again.returncode == 2
    assert "Traceback" not in again.stderr


def test_a_page_without_pictures_lesions_or_second_mode(tmp_path):
    labels = np.zeros((6, 7, 8), np.uint8)
    labels[1:3, 1:3, 1:3] = 1
    for place in ("p", "r"):
        nifti.write_new(tmp_path / place / "a.nii", labels, (1.0, 1.0, 1.0))
    done = run(
        "evaluate",
        f"--predictions={tmp_path / 'p'}",
        f"--references={tmp_path / 'r'}",
        f"--out={tmp_path / 'out'}",
        "--mode=official",
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "report.html").read_text()
    assert "reference without tumour" in page
    assert "Free response" not in page
    assert "count differently" not in page
    assert list(json.loads((tmp_path / "out" / "scores.json").read_text())["modes"]) == ["official"]


def test_missing_predictions_give_one_message(data, tmp_path):
    (tmp_path / "few").mkdir()
    shutil.copy(data / "predictions" / "volume-1.nii.gz", tmp_path / "few")
    done = run(
        "evaluate",
        f"--predictions={tmp_path / 'few'}",
        f"--references={data / 'data'}",
        f"--out={tmp_path / 'out'}",
    )
    assert done.returncode == 2
    assert "4 of 5 references: segmentation-0, segmentation-2, segmentation-3, segmentation-4" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_partial_submission(data, tmp_path):
    for place in ("volumes", "predictions"):
        (tmp_path / place).mkdir()
    for number in (0, 4):
        shutil.copy(
            data / "data" / f"volume-{number}.nii", tmp_path / "volumes" / f"test-volume-{number}.nii"
        )
        shutil.copy(
            data / "predictions" / f"volume-{number}.nii.gz",
            tmp_path / "predictions" / f"test-segmentation-{number}.nii.gz",
        )
    folders = (
        f"--predictions={tmp_path / 'predictions'}",
        f"--volumes={tmp_path / 'volumes'}",
        f"--out={tmp_path / 'out.zip'}",
    )
    refused = run("submit", *folders)
    assert refused.returncode == 2
    assert "no predictions for cases 1, 2, 3, 5" in refused.stderr
    done = run("submit", *folders, "--partial")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{tmp_path / 'out.zip'}: 2 cases, 1 with tumour"
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == ["test-segmentation-0.nii", "test-segmentation-4.nii"]


def test_the_doctor_tells_and_repairs(data, tmp_path):
    sick = shutil.copytree(data / "data", tmp_path / "sick")
    labels = nifti.read_labels(sick / "segmentation-2.nii")
    (sick / "segmentation-2.nii").unlink()
    nifti.write_labels(sick / "segmentation-2.nii", np.roll(labels.array_DHW, 3, 0), labels.grid)
    manifest, copies = f"--manifest={tmp_path / 'm.json'}", f"--repair={tmp_path / 'copies'}"
    done = run("doctor", f"--data={sick}", manifest, copies, "--workers=1")
    assert done.returncode == 1
    assert "label-shifted" in done.stdout
    assert "10 files: 1 error, 0 warnings" in done.stdout
    assert len(json.loads((tmp_path / "m.json").read_text())["copies"]) == 5
    again = run("doctor", f"--data={tmp_path / 'copies'}", manifest, "--workers=1")
    assert again.returncode == 0, again.stdout


def test_the_benchmark_prints_json(tmp_path):
    done = run("benchmarks.scoring", "--size=48,64,64", "--lesions=12", f"--keep={tmp_path}")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["shape"] == [64, 64, 48]
    assert result["lesions"]["reference"] == 12
    assert result["seconds"] > 0
    assert 0 < result["peak_gib"] < 4
    assert result["environment"]["versions"]["scipy"]
    refused = run("benchmarks.scoring", "--size=48,64")
    assert refused.returncode == 2


@pytest.mark.long
def test_the_largest_case_is_scored_within_its_limits():
    done = run("benchmarks.scoring")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["cpu_seconds"] < 20
    assert result["peak_gib"] < 4
