"""Folds and seeds of `TinyNet`, in this process: which runs there are, and what is made of them."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.base import in_order, phase
from dsdenseunet.core.errors import InputError
from dsdenseunet.cross_validation import driver, out_of_fold, room, runs
from dsdenseunet.data.cache import Cache
from dsdenseunet.data.scans import nifti
from dsdenseunet.inference import ensemble
from dsdenseunet.tasks.lits import TASK
from dsdenseunet.training import cascade, loop, temperature, trained
from dsdenseunet.training.checkpoint import load_best
from dsdenseunet.training.interruption import Interrupted

pytestmark = pytest.mark.usefixtures("tiny_network")


@pytest.fixture
def folds(config: ConfigDict) -> ConfigDict:
    """Three folds of a case each, one short phase."""
    config.data.explicit.train = config.data.explicit.validation = ()
    config.data.folds = 3
    config.phases = in_order(phase1=phase(1))
    config.training.validate_patches = 2
    config.training.validate_cases = 1
    return config


def said(asked: list[runs.Run], workdir: Path) -> list[tuple[str, int, int]]:
    return [
        (run.workdir.relative_to(workdir).as_posix(), run.config.data.fold, run.config.seed) for run in asked
    ]


def test_a_run_for_each_fold_and_seed(folds: ConfigDict, tmp_path: Path):
    folds.seed, folds.data.fold = 3, 1
    assert said(runs.of_command(folds, tmp_path), tmp_path) == [(".", 1, 3)]
    assert said(runs.of_command(folds, tmp_path, "2"), tmp_path) == [("fold2", 2, 3)]
    assert said(runs.of_command(folds, tmp_path, seeds=2), tmp_path) == [("seed3", 1, 3), ("seed4", 1, 4)]
    assert said(runs.of_command(folds, tmp_path, "all", 2, 1.0), tmp_path) == [
        (f"fold{fold}/seed{seed}", fold, seed) for fold in range(3) for seed in (3, 4)
    ]
    shares = [run.config.training.budget_seconds for run in runs.of_command(folds, tmp_path, "all", 2, 1.0)]
    assert shares == [600.0] * 6


def test_what_probabilities_take_is_said_before(folds: ConfigDict, tmp_path: Path):
    asked = runs.of_command(folds, tmp_path, "all", 2)
    # Three classes, on the grid of each scan; which a prediction has too where cases were resampled.
    scans = [record.images[0].path for record in Cache.open(folds.data.cache).records.values()]
    needed = 2 * 3 * sum(np.prod(nifti.read_grid(path).shape_DHW) for path in scans)
    assert len(scans) == 3 and room.for_probabilities(asked) == needed
    assert "of 3 cases will take at most 0.0 GB" in room.in_words(asked, tmp_path / "cv" / "not there")


def test_seeds_of_a_fold_hold_out_the_same_cases(folds: ConfigDict, tmp_path: Path):
    folds.data.folds = 2
    for seed in range(5):
        folds.seed = seed
        assert runs.held_out(runs.of_command(folds, tmp_path, "0")) == {0: ("volume-1", "volume-2")}
    dealt = set()
    for folds.data.fold_seed in range(5):
        dealt.add(runs.held_out(runs.of_command(folds, tmp_path, "0"))[0])
    assert len(dealt) > 1


@pytest.mark.parametrize(
    ("fold", "explicit", "named"),
    [("3", (), "a fold in 0..2"), ("first", (), "all, or a fold"), ("0", ("a",), "leave out --fold")],
)
def test_folds_that_there_are_not(folds: ConfigDict, tmp_path: Path, fold: str, explicit, named: str):
    folds.data.explicit.train, folds.data.explicit.validation = explicit, ("b",) * bool(explicit)
    with pytest.raises(InputError, match=rf"--fold={fold}(.|\n)*{named}"):
        runs.of_command(folds, tmp_path, fold)


def test_what_stops_a_later_run_is_found_before_the_first(folds: ConfigDict, tmp_path: Path):
    path = tmp_path / "folds.json"
    folds.data.fold_file = str(path)
    names = ["volume-0", "volume-1", "volume-2"]
    sides = [{"train": names[1:], "val": names[:1]}, {"train": names[1:2], "val": names[::2]}]
    path.write_text(json.dumps(sides))
    with pytest.raises(InputError, match="volume-0 in val of folds 0 and 1"):
        driver.train(runs.of_command(folds, tmp_path / "cv", "all"))
    assert not (tmp_path / "cv").exists()


def test_folds_that_share_a_patient_are_refused_before_anything_is_written(
    folds: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    patients = {"volume-0": "a", "volume-1": "b", "volume-2": "a"}
    monkeypatch.setattr(
        cascade.patients, "patients_of", lambda names: {name: patients[name] for name in names}
    )
    with pytest.raises(InputError, match=r"data\.fold=1\n.*scans of 1 patient on both sides") as refused:
        driver.train(runs.of_command(folds, tmp_path / "cv", "all"))
    assert not (tmp_path / "cv").exists()
    # What the message advises.
    path = tmp_path / "folds.json"
    names = sorted(patients)
    path.write_text(json.dumps([{"train": names[1:2], "val": names[::2]}]))
    assert "fold_file" in refused.value.fix
    folds.data.fold_file = str(path)
    assert runs.held_out(runs.of_command(folds, tmp_path, "all")) == {0: ("volume-0", "volume-2")}
    # A file may not part the scans that the config names as one patient's.
    folds.data.same_patient = (("volume-0", "volume-1"),)
    with pytest.raises(
        InputError, match=r"by config\.data\.same_patient: volume-1 trains and volume-0 valid"
    ):
        runs.held_out(runs.of_command(folds, tmp_path, "all"))


def test_scans_with_one_patient_id_are_kept_together_or_refused(folds: ConfigDict, tmp_path: Path):
    known = Cache.open(folds.data.cache)
    ids = {"volume-0": "7", "volume-1": "8", "volume-2": "7"}
    records = {name: dataclasses.replace(known.record(name), patient=one) for name, one in ids.items()}
    told = dataclasses.replace(known, records=records)
    folds.data.folds = 2
    sides = []
    for folds.data.fold in range(2):
        sides.append(set(cascade.split(folds, told)[1]))
    assert {"volume-0", "volume-2"} in sides and {"volume-1"} in sides
    path = tmp_path / "folds.json"
    path.write_text(json.dumps([{"train": ["volume-0", "volume-1"], "val": ["volume-2"]}]))
    folds.data.fold_file, folds.data.fold = str(path), 0
    with pytest.raises(InputError, match=r"volume-0 trains and volume-2 validates \(7\)") as refused:
        cascade.split(folds, told)
    assert "PatientID" in refused.value.found and refused.value.where.endswith("folds.json, fold 0")


def test_all_folds_and_seeds_to_one_table(
    folds: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Stopped behind the first run, gone on with, scored; the end says what each case is of."""
    folds.data.folds = 2
    workdir = tmp_path / "cv"
    asked = runs.of_command(folds, workdir, "all", 2)
    _stopped_by_a_late_signal(asked, monkeypatch)
    assert (workdir / "fold0" / "seed0" / "phase1" / "best").is_dir()
    assert not (workdir / "fold0" / "seed1").exists()
    driver.train(asked)
    assert capsys.readouterr().out.count("complete already") == 1

    # Pictures take longer than all else, and are drawn of what scores.json and cases.csv say.
    monkeypatch.setattr(out_of_fold, "write_score_page", lambda out: out)
    result = driver.evaluate(asked, workdir, workers=1)
    assert result is not None
    out = workdir / "out_of_fold"
    with (out / "cases.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    of_case = {name: fold for fold, names in runs.held_out(asked).items() for name in names}
    assert {row["case"] for row in rows} == set(of_case) == {"volume-0", "volume-1", "volume-2"}
    for row in rows:
        fold = of_case[row["case"]]
        assert row["fold"] == str(fold)
        assert row["runs"] == "; ".join(f"{workdir}/fold{fold}/seed{seed}" for seed in (0, 1))
    dice = {row["case"]: float(row["liver_dice_per_case"]) for row in rows if row["mode"] == "corrected"}
    assert result["by_fold"]["0"]["cases"] == 2
    assert result["by_fold"]["0"]["corrected"]["liver_dice_per_case"] == pytest.approx(
        np.mean([dice[name] for name, fold in of_case.items() if fold == 0])
    )
    found = result["calibration"]
    assert found["cases"] == 3
    for run in asked:
        assert temperature.of_runs([str(run.workdir)]) == found["temperature"]
    # Of a case by hand: the mean of the runs that have not seen it.
    members = [workdir / f"fold{of_case['volume-1']}" / f"seed{seed}" for seed in (0, 1)]
    predictor = ensemble.of_runs({str(member): load_best(member) for member in members})
    assert trained.load(list(map(str, members)), calibrated=True).segmenter.temperature == pytest.approx(
        found["temperature"]
    )
    case = Cache.open(folds.data.cache).case("volume-1")
    written = nifti.read_labels(out / "predictions" / "segmentation-1.nii.gz", TASK)
    np.testing.assert_array_equal(written.array_DHW, predictor.segment(case.image_DHW, case.spacing_mm))

    # Again, with a scan that is gone: it is named, and nothing of the others is made anew.
    capsys.readouterr()
    _lose_the_scan("volume-2", Path(folds.data.cache), tmp_path / "cache")
    folds.data.cache = str(tmp_path / "cache")
    again = driver.evaluate(runs.of_command(folds, workdir, "all", 2), workdir, workers=1)
    assert again is not None
    assert [failure["scan"] for failure in again["failures"]] == ["/gone/volume-2.nii"]
    assert list(again["files"]) == ["volume-0", "volume-1"]
    assert " 1 segmented" not in capsys.readouterr().out

    # Without probabilities, those that were kept go, and with them what follows from them.
    kept = [out / "predictions" / f"segmentation-{number}_probabilities.nii.gz" for number in (0, 1)]
    assert all(path.exists() for path in kept)
    without = driver.evaluate(asked[:1], workdir, workers=1, save_probabilities=False)
    assert without is not None and without["calibration"] is None
    assert sum(path.exists() for path in kept) < 2


def _stopped_by_a_late_signal(asked: list[runs.Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes when the first run has made its last step."""
    run_phase = loop.run_phase

    def late(*arguments):
        run_phase(*arguments)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(cascade, "run_phase", late)
        with pytest.raises(Interrupted) as stopped:
            driver.train(asked)
    assert stopped.value.exit_status == 143
    assert "fold0/seed0" in str(stopped.value)


def _lose_the_scan(name: str, cache: Path, copy: Path) -> None:
    shutil.copytree(cache, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    (case,) = (case for case in manifest["cases"] if case["name"] == name)
    case["images"][0]["path"] = "/gone/volume-2.nii"
    (copy / "manifest.json").write_text(json.dumps(manifest))
