import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti
from dsdenseunet.evaluation.folder import evaluate
from dsdenseunet.reporting import first_batch
from dsdenseunet.reporting.run_report import Inputs, write_report
from dsdenseunet.reporting.sources import PHANTOM, SAMPLE
from dsdenseunet.runtime.stages import Stage
from dsdenseunet.tasks.lits import TASK

STAGES = [Stage("train", "python -m experiments.train --config=<demo>", 12.5, 20.25, reused=True)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A scored prediction and the log of a run, by hand: 12 of 24 tumour voxels are found."""
    root = tmp_path_factory.mktemp("report")
    for name in ("run", "truth", "predictions"):
        (root / name).mkdir()
    image = np.random.default_rng(0).integers(-200, 250, (6, 20, 20)).astype(np.int16)
    truth = np.zeros((6, 20, 20), np.uint8)
    truth[1:5, 4:16, 4:16] = 1
    truth[2:4, 6:8, 6:12] = 2
    prediction = truth.copy()
    prediction[2] = np.minimum(prediction[2], 1)
    spacing = (2.0, 1.0, 1.0)
    nifti.write_new(root / "truth" / "volume-1.nii", image, spacing)
    nifti.write_new(root / "truth" / "segmentation-1.nii", truth, spacing)
    nifti.write_new(root / "predictions" / "segmentation-1.nii", prediction, spacing)
    evaluate(root / "predictions", root / "truth", root / "scores")
    lines = []
    for phase in ("phase1", "phase2"):
        lines += [{"phase": phase, "epoch": 1, "step": step, "loss": 1 / step} for step in (1, 2, 3)]
        scores = {"liver_dice": 0.9, "tumour_dice": 0.6, "mean_dice": 0.75}
        lines.append({"phase": phase, "epoch": 1, "step": 3, "validation": scores})
    (root / "run" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    start = {
        "commit": "0123456789abcdef",
        "uncommitted_changes_sha256": None,
        "versions": {"python": "3.11"},
        "hardware": {"cpu_cores": 2, "machine": "x86_64", "devices": 1, "device_kind": "cpu"},
        "data_sha256": "d" * 64,
        "config": {"name": "demo", "seed": 0, "task": TASK.to_config()},
    }
    (root / "run" / "provenance.json").write_text(json.dumps({"starts": [start]}))
    batch = np.zeros((1, 6, 20, 20, 1), np.float32), truth[None]
    first_batch.write(root / "run" / first_batch.FILE, *batch, ["volume-1"], TASK)
    return Inputs(
        root / "run",
        root / "truth" / "volume-1.nii",
        root / "truth" / "segmentation-1.nii",
        root / "predictions" / "segmentation-1.nii",
        root / "scores" / "scores.json",
    )


def test_the_page_is_self_contained_and_complete(inputs, tmp_path):
    page = write_report(tmp_path, inputs, SAMPLE, STAGES)
    text = page.read_text()
    # Nothing is loaded: every source is inline, and there is no script and no style sheet to fetch.
    assert re.findall(r'src="(?!data:image/png;base64,)', text) == []
    assert not re.search(r"<script|<link|@import|url\(", text)
    assert text.count("data:image/png") == 4
    for needed in (SAMPLE.attribution, "0123456789ab", "corrected", "1.000", "0.667", "12.5", "reused"):
        assert needed in text
    assert "--config=&lt;demo&gt;" in text
    assert "not real CTs" not in text
    assert {path.name for path in tmp_path.iterdir()} == {
        "overlay.png",
        "loss.png",
        "validation.png",
        "scores.png",
        "result.json",
        "report.html",
        "view.html",
    }


def test_the_result_carries_all_that_a_number_needs(inputs, tmp_path):
    write_report(tmp_path, inputs, SAMPLE, STAGES)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["liver_dice"] == 1.0
    assert result["tumour_dice"] == pytest.approx(2 * 12 / (12 + 24))
    assert result["config_name"] == "demo"
    assert result["commit"] == "0123456789abcdef"
    assert result["scoring_mode"] == "corrected"
    assert result["weights"]["phase"] == "phase2"
    assert result["steps"] == {"phase1": 3, "phase2": 3}
    assert result["stages"] == [dataclasses.asdict(STAGES[0])]
    for key in ("hardware", "versions", "data", "data_sha256", "config", "scores"):
        assert result[key]


def test_phantoms_are_plainly_said_to_be_phantoms(inputs, tmp_path):
    page = write_report(tmp_path, inputs, PHANTOM, STAGES)
    assert "These are not real CTs" in page.read_text()
    assert "LiTS case 117" not in page.read_text()


def test_equal_inputs_give_equal_pictures(inputs, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_report(tmp_path / name, inputs, SAMPLE, STAGES)
    for picture in ("overlay.png", "loss.png", "scores.png"):
        assert (tmp_path / "a" / picture).read_bytes() == (tmp_path / "b" / picture).read_bytes()


def test_a_ct_that_cannot_be_shown_costs_its_picture_alone(inputs, tmp_path):
    (tmp_path / "volume-1.nii").write_bytes(b"x")
    text = write_report(
        tmp_path, dataclasses.replace(inputs, image=tmp_path / "volume-1.nii"), SAMPLE, STAGES
    ).read_text()
    assert text.count("data:image/png") == 3
    assert text.count("could not be drawn") == 1
    assert (tmp_path / "result.json").exists()


def spoilt(inputs, folder, name, change):
    """The same inputs, but for one file that a change of its text has spoilt."""
    run = shutil.copytree(inputs.workdir, folder / "run")
    scores = shutil.copy(inputs.scores, folder)
    path = folder / name if name == "scores.json" else run / name
    path.write_text(change(path.read_text()), encoding="latin-1")
    return path, dataclasses.replace(inputs, workdir=run, scores=folder / Path(scores).name)


def with_nan(text):
    return re.sub(r'("(mean_dice|liver_dice_per_case)": )[-0-9.]+', r"\1NaN", text)


CHANGES = [
    lambda text: "",
    lambda text: text[:-9],
    lambda text: "\xff",
    lambda text: "[]",
    lambda text: "[1]",
]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *(
            (name, change)
            for name in ("scores.json", "metrics.jsonl", "provenance.json")
            for change in CHANGES
        ),
        *((name, with_nan) for name in ("scores.json", "metrics.jsonl")),
        ("metrics.jsonl", lambda text: text.replace('"phase"', '"part"')),
        ("metrics.jsonl", lambda text: text.replace('"validation"', '"valid"')),
        ("metrics.jsonl", lambda text: text.replace('"epoch"', '"round"')),
        ("provenance.json", lambda text: text.replace('"hardware"', '"machine"')),
        ("provenance.json", lambda text: text.replace('"channels"', '"channel"')),
        ("scores.json", lambda text: text.replace('"corrected"', '"other"')),
        ("scores.json", lambda text: text.replace('"liver_assd"', '"other"')),
    ],
)
def test_damaged_results_are_one_message(inputs, tmp_path, name, change):
    path, bad = spoilt(inputs, tmp_path, name, change)
    out = tmp_path / "out"
    with pytest.raises(InputError) as caught:
        write_report(out, bad, SAMPLE, STAGES)
    assert caught.value.where == str(path)
    assert caught.value.fix.endswith("run the same command again")
    assert not out.exists()


@pytest.mark.parametrize("name", ["scores.json", "metrics.jsonl", "provenance.json"])
def test_missing_results_are_one_message(inputs, tmp_path, name):
    path, bad = spoilt(inputs, tmp_path, name, str)
    path.unlink()
    with pytest.raises(InputError, match=name):
        write_report(tmp_path / "out", bad, SAMPLE, STAGES)
