"""Folders of files: pairing, reading, resuming, and what is written."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from dsdenseunet.data import nifti
from dsdenseunet.errors import InputError
from dsdenseunet.evaluation import folder, pairing, reading, run
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

    def counted(pair, modes):
        scored.append(pair.name)
        return reading.score_files(pair, modes)

    monkeypatch.setattr(run, "score_files", counted)
    first = evaluate(folders)
    assert evaluate(folders)["modes"] == first["modes"]
    assert len(scored) == 3
    prediction, _, spacing = make_pair(7)
    write(folders / "predictions" / "volume-1.nii.gz", np.zeros_like(prediction), spacing=spacing)
    evaluate(folders)
    assert scored[3:] == ["segmentation-1"]


def test_an_interrupted_run_goes_on(folders):
    bad = folders / "predictions" / "volume-2.nii.gz"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-20])
    with pytest.raises(InputError):
        evaluate(folders)
    assert sorted(path.stem for path in (folders / "out" / "cases").iterdir()) == [
        "segmentation-0",
        "segmentation-1",
    ]
    assert not (folders / "out" / "scores.json").exists()
    bad.write_bytes(whole)
    assert evaluate(folders)["cases"] == 3


def test_a_bad_file_stops_worker_processes_with_its_message(folders):
    bad = folders / "predictions" / "volume-0.nii.gz"
    bad.write_bytes(bad.read_bytes()[:-20])
    with pytest.raises(InputError, match=bad.name):
        evaluate(folders, workers=2)


def test_a_second_method_is_compared(folders):
    for path in (folders / "predictions").iterdir():
        labels = nifti.read_labels(path)
        nifti.write_labels(folders / "second" / path.name, np.zeros_like(labels.array_DHW), labels.grid)
    result = evaluate(folders, compare=folders / "second")
    rows = result["comparison"]["modes"]["corrected"]
    assert {row["better"] for row in rows} == {"undecided"}
    assert rows[0]["reason"] == "3 cases are too few for any difference to show"
    assert (folders / "out" / "compare" / "scores.json").exists()


def test_the_official_mode_takes_files_as_they_lie_and_the_corrected_one_turns_them(tmp_path):
    labels = np.zeros((6, 8, 10), np.uint8)
    labels[1:3, 2:7, 1:6] = 1
    labels[1, 3, 2:4] = 2
    pair = FilePair(
        "a",
        write(tmp_path / "p.nii", labels, "RAS"),
        write(tmp_path / "r.nii", labels, "LPS"),
    )
    scores = reading.score_files(pair)
    assert scores["official"].liver_dice < 1
    assert scores["official"].marks == ()
    assert scores["corrected"].liver_dice == 1
    assert scores["corrected"].marks == (reading.TURNED,)


def test_a_nonsense_header_does_not_turn_what_fits(tmp_path):
    labels = np.zeros((6, 8, 10), np.uint8)
    labels[1:3, 2:7, 1:6] = 1
    write(tmp_path / "p.nii", labels, "LPS")
    stored = nib.load(tmp_path / "p.nii")
    array = np.asanyarray(stored.dataobj).copy()
    nib.save(nib.Nifti1Image(array, np.diag([0.5, 1, 2, 1])), tmp_path / "r.nii")
    scores = reading.score_files(FilePair("a", tmp_path / "p.nii", tmp_path / "r.nii"))
    assert scores["corrected"].liver_dice == 1
    assert scores["corrected"].marks == (reading.NOT_TURNED,)


def test_spacing_and_place_of_the_headers(tmp_path):
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1:3, 1:3, 1:3] = 1
    path = write(tmp_path / "r.nii", labels, "RAS", (1.0, 1.0, 1.0))
    affine = nib.load(path).affine.copy()
    affine[:3, 3] += 5
    array = np.asanyarray(nib.load(path).dataobj).copy()
    nib.save(nib.Nifti1Image(array, affine), tmp_path / "p.nii")
    scores = reading.score_files(FilePair("a", tmp_path / "p.nii", path))
    assert scores["corrected"].marks == (reading.MOVED,)
    # A voxel size that the affine contradicts: the original believes the voxel size.
    header = nib.load(path).header.copy()
    header["pixdim"][1:4] = 2
    with (tmp_path / "s.nii").open("wb") as stream:
        header["vox_offset"] = 352
        stream.write(header.binaryblock + bytes(4) + array.tobytes(order="F"))
    scores = reading.score_files(FilePair("a", path, tmp_path / "s.nii"))
    assert scores["official"].spacing_mm == (2, 2, 2)
    assert scores["corrected"].spacing_mm == (1, 1, 1)
    assert reading.SPACING in scores["corrected"].marks


def test_shapes_and_labels_are_checked(tmp_path):
    labels = np.ones((4, 5, 6), np.uint8)
    reference = write(tmp_path / "r.nii", labels)
    other = write(tmp_path / "other.nii", labels[:3])
    with pytest.raises(InputError, match="resample"):
        reading.score_files(FilePair("a", other, reference))
    # The same scan stored along other axes can only be compared once it is turned.
    turned = write(tmp_path / "turned.nii", labels, "SAR")
    with pytest.raises(InputError, match="resample"):
        reading.score_files(FilePair("a", turned, reference))
    assert reading.score_files(FilePair("a", turned, reference), ("corrected",))["corrected"].liver_dice == 1
    with pytest.raises(InputError, match="label values 3"):
        reading.score_files(FilePair("a", write(tmp_path / "three.nii", labels * 3), reference))


def test_images_are_found_by_number_or_in_decathlon_folders(tmp_path):
    for name in ("a/volume-4.nii", "imagesTr/liver_5.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    pairs = [FilePair(name, tmp_path, tmp_path) for name in ("segmentation-4", "liver_5", "segmentation-6")]
    assert pairing.find_images(pairs, tmp_path) == {
        "segmentation-4": tmp_path / "a/volume-4.nii",
        "liver_5": tmp_path / "imagesTr/liver_5.nii.gz",
    }
