import json

import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti
from dsdenseunet.evaluation import region_summary
from dsdenseunet.evaluation.folder import evaluate
from dsdenseunet.evaluation.regions import Pieces, TaskScore, score_task
from dsdenseunet.reporting.score_page import write_score_page
from dsdenseunet.tasks.task import Task

TASK = Task.of(
    {
        "name": "toy",
        "classes": ("background", "rim", "core"),
        "regions": (("whole", (1, 2)), ("core", (2,))),
        "channels": (("MR", "zscore"),),
        "ignore_label": 9,
        "stratify_by": "",
        "select_by": ("whole", "core"),
        "detect": ("core",),
        "clean_up": (),
    }
)


def volumes():
    """A bar of four voxels, the last of them core, moved by one; and a core of one voxel that is missed."""
    reference, prediction = np.zeros((2, 3, 5, 12), np.uint8)
    reference[1, 2, 1:4], reference[1, 2, 4] = 1, 2
    prediction[1, 2, 2:4], prediction[1, 2, 4:6] = 1, 2
    reference[1, 2, 9] = 2
    return prediction, reference


def test_by_hand():
    score = score_task(*volumes(), (2.0, 1.0, 1.5), TASK)
    whole, core = score.regions["whole"], score.regions["core"]
    # 4 voxels against 5, 3 of them shared; 2 against 2, 1 of them shared.
    assert (whole.dice, core.dice) == (6 / 9, 2 / 4)
    assert whole.reference_ml == pytest.approx(5 * 3 / 1000)
    assert core.pieces == Pieces(hit_ml=(0.006, 0.0), true_ml=(0.006,), false_ml=())
    assert list(core.pieces.counts.values()) == [1, 1, 1, 0]
    assert whole.pieces is None
    # Distances of the core, mm: of the prediction 0 and 1.5, of the reference 0 and 4 x 1.5.
    assert core.assd_mm == pytest.approx((0 + 1.5 + 0 + 6.0) / 4)
    assert core.hd95_mm == pytest.approx(0.95 * 6.0)
    assert core.surface_dice == (2 / 4, 3 / 4, 3 / 4)
    assert score.marks == ()
    assert TaskScore.from_json(json.loads(json.dumps(score.to_json()))) == score


def test_what_is_ignored_counts_nowhere():
    prediction, reference = volumes()
    without = score_task(prediction, reference, (2.0, 1.0, 1.5), TASK)
    reference[0, 0, 0:3] = 9
    prediction[0, 0, 0:3] = 2
    assert score_task(prediction, reference, (2.0, 1.0, 1.5), TASK) == without


@pytest.mark.parametrize(("filled", "dice"), [(0, 1.0), (2, 0.0)])
def test_an_empty_side_has_no_distances(filled, dice):
    reference, prediction = np.zeros((2, 2, 3, 4), np.uint8)
    prediction[0, 1, 1] = filled
    score = score_task(prediction, reference, (1.0, 1.0, 1.0), TASK)
    core = score.regions["core"]
    assert (core.dice, core.surface_dice) == (dice, (dice,) * 3)
    assert core.hd95_mm is core.assd_mm is None
    assert any(mark.startswith("core empty") for mark in score.marks)


def write(folder, prediction, reference):
    for number in range(3):
        nifti.write_new(folder / "truth" / f"case_{number}.nii.gz", reference, (2.0, 1.0, 1.5), "LPS")
        moved = np.roll(prediction, number, 2)
        nifti.write_new(folder / "first" / f"case_{number}.nii.gz", moved, (2.0, 1.0, 1.5), "LPS")
        nifti.write_new(folder / "second" / f"case_{number}.nii.gz", reference, (2.0, 1.0, 1.5), "LPS")


def test_a_folder_is_scored_compared_and_shown_in_the_words_of_the_task(tmp_path):
    write(tmp_path, *volumes())
    out = tmp_path / "out"
    result = evaluate(tmp_path / "first", tmp_path / "truth", out, compare=tmp_path / "second", task=TASK)
    scores = result["modes"]["regions"]["scores"]
    each = [score_task(np.roll(volumes()[0], n, 2), volumes()[1], (1.5, 1.0, 2.0), TASK) for n in range(3)]
    for name in ("whole", "core"):
        assert scores[f"{name}_dice"] == pytest.approx(np.mean([one.regions[name].dice for one in each]))
    assert scores["mean_dice"] == pytest.approx((scores["whole_dice"] + scores["core_dice"]) / 2)
    found = [one.regions["core"].pieces.found for one in each]
    assert scores["core_recall"] == pytest.approx(sum(found) / 6)
    rows = {row["name"]: row for row in result["comparison"]["modes"]["regions"]}
    assert rows["core_dice"]["second"] == 1
    header = (out / "cases.csv").read_text().splitlines()[0].split(",")
    assert {"whole_dice", "core_hd95_mm", "core_missed"} <= set(header)
    assert not (out / "lesions.csv").exists()
    page = write_score_page(out).read_text()
    assert "Dice of whole and core of each case" in page
    assert "could not be drawn" not in page
    for word in ("liver", "tumour", "LiTS", "Lesions"):
        assert word not in page


def test_labels_that_are_no_classes_fail_their_case(tmp_path):
    prediction, reference = volumes()
    write(tmp_path, prediction, reference)
    changed = {"classes": ("background", "rim"), "regions": (("rim", (1,)),), "select_by": ("rim",)}
    two = Task.of({**TASK.to_config(), **changed, "detect": ()})
    with pytest.raises(InputError, match="label values 2"):
        evaluate(tmp_path / "first", tmp_path / "truth", tmp_path / "out", task=two)


def test_sensitivity_at_few_false_positives_by_hand():
    """Two pieces found by 2 and 1 voxels, two missed; a false piece of 2 voxels, one of 1; in two cases."""
    cases = []
    for voxels in (2, 1):
        reference, prediction = np.zeros((2, 3, 3, 20), np.uint8)
        reference[1, 1, 1:3] = reference[1, 1, 10] = 2
        prediction[1, 1, 1 : 1 + voxels] = prediction[1, 1, 16 : 16 + voxels] = 2
        cases.append(score_task(prediction, reference, (1.0, 1.0, 1.0), TASK))
    scores = region_summary.set_scores(cases, TASK)
    # Of four pieces one is found by two voxels, at half a false piece a case; two are found at a whole one.
    found = [scores[f"core_sensitivity_at_{rate}fp"] for rate in ("0.25", "0.5", "1", "8")]
    assert found == [0, 0.25, 0.5, 0.5]
    assert scores["core_recall"] == scores["core_precision"] == 0.5
    assert set(region_summary.selectable(TASK)) < set(scores)
    empty = np.zeros((1, 2, 2), np.uint8)
    nothing = region_summary.set_scores([score_task(empty, empty, (1.0, 1.0, 1.0), TASK)], TASK)
    assert nothing["core_sensitivity_at_1fp"] is None
