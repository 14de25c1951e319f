"""Folders of files: pairing, reading, resuming, and what is written."""

import csv
import json
import os
import shutil
import signal

import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti
from dsdenseunet.evaluation import folder, pairing, reading
from dsdenseunet.evaluation import scoring as run
from dsdenseunet.evaluation.pairing import FilePair
from tests.evaluation.label_pairs import make_pair

SPACING = (2.0, 1.0, 0.5)


def write(path, labels_DHW, axcodes="LPS", spacing=SPACING):
    nifti.write_new(path, labels_DHW, spacing, axcodes)
    return path


@pytest.fixture
def folders(tmp_path):
    """Three cases; predictions are named and packed otherwise than references."""
    for number, seed in enumerate((0, 7, 9)):
        prediction, reference, spacing = make_pair(seed)
        write(tmp_path / "references" / f"segmentation-{number}.nii", reference, spacing=spacing)
        write(tmp_path / "predictions" / f"volume-{number}.nii.gz", prediction, spacing=spacing)
    return tmp_path


def evaluate(root, **options):
    return folder.evaluate(root / "predictions", root / "references", root / "out", **options)


def read_csv(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [
        ("segmentation-3.nii", "segmentation-3.nii"),
        ("volume-3.nii.gz", "segmentation-3.nii"),
        ("test-volume-3.nii", "test-segmentation-003.nii.gz"),
        ("segmentation-3.nii", "segmentation-003.nii.gz"),
        ("liver_3.nii.gz", "liver_3.nii.gz"),
        ("segmentation-3.nii", "liver_3.nii.gz"),
        ("patient A.nii.gz", "patient A.nii"),
    ],
)
def test_names_that_belong_together(tmp_path, prediction, reference):
    for place, name in (("p", prediction), ("r", reference)):
        (tmp_path / place).mkdir()
        (tmp_path / place / name).touch()
    found = pairing.find_pairs(tmp_path / "p", tmp_path / "r").used
    assert [(pair.prediction.name, pair.reference.name) for pair in found] == [(prediction, reference)]


def test_pairs_come_in_natural_order_and_cts_are_no_references(tmp_path):
    for name in ("segmentation-10.nii", "segmentation-2.nii", "volume-2.nii", ".hidden.nii", "notes.txt"):
        for place in ("p", "r"):
            (tmp_path / place).mkdir(exist_ok=True)
            (tmp_path / place / name).touch()
    found = pairing.find_pairs(tmp_path / "p", tmp_path / "r")
    assert [pair.name for pair in found.used] == ["segmentation-2", "segmentation-10"]


def test_all_missing_predictions_are_listed(folders):
    for number in (0, 2):
        (folders / "predictions" / f"volume-{number}.nii.gz").unlink()
    with pytest.raises(InputError, match="2 of 3 references: segmentation-0, segmentation-2"):
        evaluate(folders)
    assert not (folders / "out").exists()


def test_folders_that_do_not_work(folders):
    with pytest.raises(InputError, match="no such folder"):
        pairing.find_pairs(folders / "none", folders / "references")
    (folders / "empty").mkdir()
    with pytest.raises(InputError, match="no label volume"):
        pairing.find_pairs(folders / "predictions", folders / "empty")
    (folders / "predictions" / "volume-1.nii").touch()
    with pytest.raises(InputError, match="a second file"):
        pairing.find_pairs(folders / "predictions", folders / "references")


def test_results_of_both_modes(folders):
    result = evaluate(folders)
    assert json.loads((folders / "out" / "scores.json").read_text()) == json.loads(json.dumps(result))
    assert set(result["modes"]) == {"official", "corrected"}
    rows = read_csv(folders / "out" / "cases.csv")
    assert [(row["case"], row["mode"]) for row in rows] == [
        (f"segmentation-{n}", mode) for n in range(3) for mode in ("official", "corrected")
    ]
    dice = [float(row["lesion_dice_per_case"]) for row in rows if row["mode"] == "corrected"]
    assert result["modes"]["corrected"]["scores"]["lesion_dice_per_case"] == pytest.approx(np.mean(dice))
    lesions = read_csv(folders / "out" / "lesions.csv")
    assert {row["side"] for row in lesions} == {"reference", "prediction"}
    causes = {row["cause"] for row in lesions} - {""}
    assert causes
    assert causes >= {row["cause"] for row in result["differences"]}


def test_one_mode_alone(folders):
    result = evaluate(folders, modes=("official",))
    assert list(result["modes"]) == ["official"]
    assert result["differences"] == []
    assert {row["mode"] for row in read_csv(folders / "out" / "cases.csv")} == {"official"}


def test_processes_give_what_one_gives(folders):
    assert (
        evaluate(folders, workers=1)["modes"]
        == folder.evaluate(folders / "predictions", folders / "references", folders / "other", workers=2)[
            "modes"
        ]
    )


def test_only_what_changed_is_scored_again(folders, monkeypatch):
    scored = []

    def counted(pair, modes, task):
        scored.append(pair.name)
        return reading.score_files(pair, modes, task)

    monkeypatch.setattr(run, "score_files", counted)
    first = evaluate(folders)
    assert evaluate(folders)["modes"] == first["modes"]
    assert len(scored) == 3
    prediction, _, spacing = make_pair(7)
    write(folders / "predictions" / "volume-1.nii.gz", np.zeros_like(prediction), spacing=spacing)
    evaluate(folders)
    assert scored[3:] == ["segmentation-1"]


def damage(path):
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    return whole


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_pairs_are_listed_and_the_others_scored(folders, workers):
    first, third = sorted((folders / "predictions").iterdir())[::2]
    whole = damage(first)
    labels = nifti.read_labels(third)
    nifti.write_labels(third, np.full_like(labels.array_DHW, 3), labels.grid)
    result = evaluate(folders, workers=workers)
    assert result["cases"] == 1
    assert list(result["files"]) == ["segmentation-1"]
    told = json.loads((folders / "out" / "failures.json").read_text())
    assert result["failures"] == told
    assert [row["scan"] for row in told] == [str(first), str(third)]
    assert "gzip" in told[0]["message"]
    assert "label values 3" in told[1]["message"]
    assert {row["case"] for row in read_csv(folders / "out" / "cases.csv")} == {"segmentation-1"}
    # Mended, the pair is scored, the others are taken as they were, and the list of failures goes.
    first.write_bytes(whole)
    nifti.write_labels(third, labels.array_DHW, labels.grid)
    assert evaluate(folders)["cases"] == 3
    assert not (folders / "out" / "failures.json").exists()


def test_where_nothing_can_be_scored_nothing_older_stands_for_it(folders):
    evaluate(folders)
    (folders / "out" / "report.html").write_text("of the first run")
    for path in (folders / "predictions").iterdir():
        damage(path)
    with pytest.raises(InputError, match="none of 3 pairs can be scored"):
        evaluate(folders)
    assert sorted(path.name for path in (folders / "out").iterdir()) == ["cases", "failures.json"]
    assert len(json.loads((folders / "out" / "failures.json").read_text())) == 3


def kill_the_first(job):
    """Stands for a process that the system ends, as it does when memory runs out."""
    if job[0].name == "segmentation-0":
        os.kill(os.getpid(), signal.SIGKILL)
    return score(job)


score = run._score


def test_a_process_that_dies_is_named_with_its_case(folders, monkeypatch):
    monkeypatch.setattr(run, "_score", kill_the_first)
    result = evaluate(folders, workers=2)
    assert result["cases"] == 2
    (failure,) = result["failures"]
    assert failure["scan"].endswith("-0.nii.gz")
    assert "ended by the system" in failure["message"]


def test_a_damaged_record_of_an_earlier_run_is_scored_anew(folders):
    first = evaluate(folders)
    records = sorted((folders / "out" / "cases").iterdir())
    record = json.loads(records[2].read_text())
    del record["scores"]["official"]["liver"]
    for path, text in zip(records, ("{", "[]", json.dumps(record)), strict=True):
        path.write_text(text)
    assert evaluate(folders)["modes"] == first["modes"]


@pytest.mark.parametrize("changed", ["code_fingerprint", "describe"])
def test_another_code_or_library_scores_anew(folders, monkeypatch, changed):
    """The reader of the files is part of the code: what it reads otherwise must be scored otherwise."""
    assert {"dsdenseunet.data", "dsdenseunet.evaluation"} <= set(reading.CODE)
    evaluate(folders)
    states = {"code_fingerprint": "f" * 64, "describe": {"versions": {"scipy": "0"}, "commit": None}}
    scored = []

    def counted(pair, modes, task):
        scored.append(pair.name)
        return reading.score_files(pair, modes, task)

    monkeypatch.setattr(run, "score_files", counted)
    monkeypatch.setattr(run.environment, changed, lambda *of: states[changed])
    evaluate(folders)
    assert len(scored) == 3


def test_a_set_has_official_scores_only_where_every_case_has(folders):
    """The challenge's scorer does not turn files; the default says so and gives what there is."""
    labels = nifti.read_labels(folders / "predictions" / "volume-1.nii.gz")
    write(folders / "predictions" / "volume-1.nii.gz", labels.array_DHW, "SAR", labels.spacing_mm)
    result = evaluate(folders)
    assert list(result["modes"]) == ["corrected"]
    assert result["absent"] == {"official": ["segmentation-1"]}
    assert result["modes"]["corrected"]["marks"][reading.NOT_OFFICIAL] == ["segmentation-1"]
    rows = read_csv(folders / "out" / "cases.csv")
    assert [row["case"] for row in rows if row["mode"] == "official"] == ["segmentation-0", "segmentation-2"]
    alone = evaluate(folders, modes=("official",))
    assert [failure["scan"] for failure in alone["failures"]] == [
        str(folders / "predictions" / "volume-1.nii.gz")
    ]
    assert "--mode=corrected" in alone["failures"][0]["message"]


def test_methods_are_compared_over_the_cases_that_both_have(folders):
    shutil.copytree(folders / "predictions", folders / "second")
    paths = [sorted((folders / name).iterdir())[at] for name, at in (("predictions", 0), ("second", 2))]
    for path in paths:
        damage(path)
    result = evaluate(folders, compare=folders / "second")
    assert result["comparison"]["cases"] == 1
    assert [failure["scan"] for failure in result["comparison"]["failures"]] == [str(paths[1])]


def test_a_folder_of_cts_is_looked_up_before_the_work(folders):
    with pytest.raises(InputError, match="no such folder"):
        evaluate(folders, images=folders / "none")
    assert not (folders / "out").exists()


def test_a_second_method_is_compared(folders):
    for path in (folders / "predictions").iterdir():
        labels = nifti.read_labels(path)
        nifti.write_labels(folders / "second" / path.name, np.zeros_like(labels.array_DHW), labels.grid)
    result = evaluate(folders, compare=folders / "second")
    rows = result["comparison"]["modes"]["corrected"]
    assert {row["better"] for row in rows} == {"undecided"}
    assert rows[0]["reason"] == "3 cases are too few for any difference to show"
    assert (folders / "out" / "compare" / "scores.json").exists()


def test_images_are_found_by_number_or_in_decathlon_folders(tmp_path):
    for name in ("a/volume-4.nii", "imagesTr/liver_5.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    pairs = [FilePair(name, tmp_path, tmp_path) for name in ("segmentation-4", "liver_5", "segmentation-6")]
    assert pairing.find_images(pairs, tmp_path) == {
        "segmentation-4": tmp_path / "a/volume-4.nii",
        "liver_5": tmp_path / "imagesTr/liver_5.nii.gz",
    }
