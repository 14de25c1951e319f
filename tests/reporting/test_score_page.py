"""The page of an evaluation: decoration never costs it, and damaged results are said in one message."""

import csv
import json
import re
import shutil

import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti
from dsdenseunet.evaluation.folder import evaluate
from dsdenseunet.reporting import case_pictures, score_figures, score_page
from dsdenseunet.reporting.score_lines import score_lines

SPACING = (2.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Three cases with their CTs, and a second method; one pair of it cannot be read."""
    root = tmp_path_factory.mktemp("page")
    for number in range(3):
        truth = np.zeros((6, 16, 16), np.uint8)
        truth[1:5, 3:13, 3:12] = 1
        truth[2:4, 5:7, 5:10] = 2
        answer = np.roll(truth, number, 1)
        image = np.random.default_rng(number).integers(-200, 250, truth.shape).astype(np.int16)
        nifti.write_new(root / "truth" / f"volume-{number}.nii", image, SPACING, "LPS")
        nifti.write_new(root / "truth" / f"segmentation-{number}.nii", truth, SPACING, "LPS")
        nifti.write_new(root / "first" / f"segmentation-{number}.nii", answer, SPACING, "LPS")
        nifti.write_new(root / "second" / f"segmentation-{number}.nii", np.roll(answer, 1, 2), SPACING, "LPS")
    (root / "second" / "segmentation-1.nii").write_bytes(b"<damaged>")
    evaluate(root / "first", root / "truth", root / "out", compare=root / "second")
    return root


@pytest.fixture
def out(scored, tmp_path):
    """A copy of the results that may be spoilt; the volumes stay where they are."""
    return shutil.copytree(scored / "out", tmp_path / "out")


def write_page(out):
    return score_page.write_score_page(out).read_text()


def change_json(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def pictures(text):
    return text.count("data:image/png;base64,")


def test_a_whole_page(out):
    text = write_page(out)
    assert pictures(text) == 5
    assert "could not be drawn" not in text
    assert "Both scored: 2 cases" in text
    assert "1 not scored" in text
    assert "the first bytes are b&#39;&lt;dam&#39;" in text
    assert not re.search(r"<script|<link|@import|url\(", text)


def test_what_the_terminal_says(out):
    lines = list(score_lines(json.loads((out / "scores.json").read_text())))
    assert lines[0] == "every file that looks like a scan is used"
    assert lines[1].split() == ["official", "corrected"]
    assert "not scored, see failures.json: " in lines[-1]
    assert lines[-1].endswith("segmentation-1.nii")


def damaged(path):
    path.write_bytes(path.read_bytes()[:500])


def of_another_shape(path):
    nifti.write_new(path, np.zeros((6, 16, 12), np.int16), SPACING, "LPS")


def without_numbers(path):
    nifti.write_new(path, np.full((6, 16, 16), np.nan, np.float32), SPACING, "LPS")


@pytest.mark.parametrize("spoil", [damaged, of_another_shape, without_numbers, lambda path: path.unlink()])
def test_a_ct_that_cannot_be_shown_costs_its_picture_alone(scored, out, tmp_path, spoil):
    """CTs are there for pictures only; no score depends on them."""
    shutil.copytree(scored / "truth", tmp_path / "truth")
    spoil(tmp_path / "truth" / "volume-1.nii")

    def elsewhere(value):
        for name, paths in value["files"].items():
            paths["image"] = str(tmp_path / "truth" / name.replace("segmentation", "volume")) + ".nii"

    change_json(out / "scores.json", elsewhere)
    (out / "overlay_median.png").write_bytes(b"an older picture")
    text = write_page(out)
    assert pictures(text) == 4
    assert text.count("could not be drawn") == 1
    assert "volume-1.nii" in text
    assert not (out / "overlay_median.png").exists()


@pytest.mark.parametrize("name", ["case_figure", "free_response_figure"])
def test_a_figure_that_fails_costs_itself_alone(out, monkeypatch, name):
    def fail(*of):
        raise RuntimeError("no font")

    monkeypatch.setattr(score_figures, name, fail)
    text = write_page(out)
    assert pictures(text) == 4
    assert "RuntimeError: no font" in text


def test_a_turned_prediction_is_drawn_turned(tmp_path, monkeypatch):
    """Dice 1 is written on the page: the slices must not show 0."""
    truth = np.zeros((6, 16, 16), np.uint8)
    truth[1:3, 3:7, 3:12] = 1
    truth[1, 4:6, 5:9] = 2
    nifti.write_new(tmp_path / "truth" / "volume-0.nii", truth.astype(np.int16), SPACING, "LPS")
    nifti.write_new(tmp_path / "truth" / "segmentation-0.nii", truth, SPACING, "LPS")
    nifti.write_new(tmp_path / "answer" / "segmentation-0.nii", truth, SPACING, "RAI")
    drawn = []

    def overlay_figure(image, truth, prediction, *of, **options):
        drawn.append((truth, prediction))
        return original(image, truth, prediction, *of, **options)

    original = case_pictures.overlays.overlay_figure
    monkeypatch.setattr(case_pictures.overlays, "overlay_figure", overlay_figure)
    for modes, dice in ((("official", "corrected"), 1), (("official",), 0)):
        result = evaluate(tmp_path / "answer", tmp_path / "truth", tmp_path / "out", modes=modes)
        assert result["modes"][modes[-1]]["scores"]["lesion_dice_per_case"] == dice
        assert "could not be drawn" not in write_page(tmp_path / "out")
        first, second = drawn[-1]
        assert np.array_equal(first, truth)
        assert np.array_equal(first, second) == (dice == 1)


def test_a_missing_official_score_is_said_before_the_numbers(tmp_path):
    truth = np.zeros((6, 16, 12), np.uint8)
    truth[1:3, 3:7, 3:9] = 1
    nifti.write_new(tmp_path / "truth" / "a.nii", truth, SPACING, "LPS")
    nifti.write_new(tmp_path / "answer" / "a.nii", truth, SPACING, "SAR")
    result = evaluate(tmp_path / "answer", tmp_path / "truth", tmp_path / "out")
    text = write_page(tmp_path / "out")
    assert text.index("No official scores of the set") < text.index("All scores")
    assert "no official scores of the set, as there are none of a" in list(score_lines(result))


def without(*keys):
    def change(value):
        for key in keys[:-1]:
            value = value[key]
        del value[keys[-1]]

    return change


def with_value(new, *keys):
    def change(value):
        for key in keys[:-1]:
            value = value[key]
        value[keys[-1]] = new

    return change


NAN = float("nan")
CHANGES = [
    *(
        without(key)
        for key in ("modes", "cases", "files", "failures", "absent", "differences", "environment")
    ),
    *(without("modes", "corrected", key) for key in ("scores", "extra", "intervals", "by_size", "marks")),
    without("modes", "official", "scores", "liver_assd"),
    without("modes", "corrected", "free_response", "mean"),
    without("comparison", "modes"),
    without("environment", "versions", "python"),
    with_value(NAN, "modes", "corrected", "scores", "liver_assd"),
    with_value("many", "modes", "corrected", "scores", "liver_assd"),
    with_value(NAN, "modes", "corrected", "free_response", "mean"),
    with_value([], "modes"),
    with_value({}, "modes"),
    with_value(None, "modes", "corrected", "by_size"),
    with_value(3, "modes", "official", "marks"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_damaged_scores_are_one_message(out, change):
    change_json(out / "scores.json", change)
    with pytest.raises(InputError) as caught:
        write_page(out)
    assert caught.value.where == str(out / "scores.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", b"\xff\xfe".decode("latin-1"), '"text"'])
def test_scores_that_are_none_are_one_message(out, text):
    (out / "scores.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"scores\.json"):
        write_page(out)


def test_scores_and_table_of_different_runs_are_told(out):
    change_json(out / "scores.json", without("files", "segmentation-2"))
    with pytest.raises(InputError, match=r"other cases than in .*scores\.json"):
        write_page(out)


def test_a_result_that_is_not_there_is_one_message(out):
    for name in ("cases.csv", "scores.json"):
        (out / name).unlink()
        with pytest.raises(InputError, match=name):
            write_page(out)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: [row.pop("liver_assd") for row in rows],
        lambda rows: [row.pop("turned") for row in rows],
        lambda rows: rows[1].update(lesion_dice_per_case="nan"),
        lambda rows: rows[1].update(lesion_dice_per_case="inf"),
        lambda rows: rows[1].update(lesion_dice_per_case="high"),
        lambda rows: rows[1].update(true_reference="nan"),
        lambda rows: rows.clear(),
    ],
)
def test_a_damaged_table_is_one_message(out, change):
    rows = list(csv.DictReader((out / "cases.csv").read_text().splitlines()))
    names = list(rows[0])
    change(rows)
    with (out / "cases.csv").open("w") as stream:
        writer = csv.DictWriter(stream, list(rows[0]) if rows else names)
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(InputError, match=r"cases\.csv"):
        write_page(out)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"case,mode\nsegmentation-1", b'case,mode\n"a'])
def test_a_table_that_is_none_is_one_message(out, content):
    (out / "cases.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"cases\.csv"):
        write_page(out)
