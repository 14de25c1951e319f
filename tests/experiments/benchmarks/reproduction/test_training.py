"""Figures 2 and 5: which commands make their runs, and what is read of these."""

import json

import numpy as np
import pytest

from dsdenseunet.data.scans import nifti
from dsdenseunet.reporting.reproduction.page import SECTIONS, write_page
from dsdenseunet.tasks import lits
from experiments.benchmarks.reproduction import items, training
from tests.reporting.reproduction.test_page import MADE

CONFIG = {"task": lits.TASK.to_config()}


class Pretended:
    """A chain whose stages have been done."""

    def __init__(self):
        self.commands = []

    def run(self, name, arguments, reads, writes):
        self.commands.append(arguments)


def write_run(folder, cases=(), name="demo"):
    """A run of 10 + 20 steps."""
    folder.mkdir(parents=True)
    lines = [
        {"phase": phase, "epoch": 1, "step": step, "loss": start / step, "steps_per_second": 1}
        for phase, start, steps in (("phase1", 1.0, 10), ("phase2", 0.5, 20))
        for step in range(1, steps + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    start = {**MADE, "config": {**CONFIG, "name": name}, "cases": {"training": [], "validation": list(cases)}}
    (folder / "provenance.json").write_text(json.dumps({"starts": [start]}))


def write_case(folder):
    """Image, truth and prediction of one case with liver and tumour."""
    folder.mkdir(exist_ok=True)
    image = np.random.default_rng(0).integers(-200, 250, (4, 16, 16)).astype(np.int16)
    labels = np.zeros((4, 16, 16), np.uint8)
    labels[1:3, 4:12, 4:12] = 1
    labels[2, 6:9, 6:9] = 2
    for name, volume in (("volume-7", image), ("segmentation-7", labels), ("prediction", labels)):
        nifti.write_new(folder / f"{name}.nii", volume, (2.0, 1.0, 1.0))


@pytest.fixture
def demo(tmp_path):
    """What the demo leaves."""
    write_run(tmp_path / "demo" / "run")
    write_case(tmp_path / "demo")
    names = {"workdir": "run", "image": "volume-7.nii", "truth": "segmentation-7.nii"}
    data = {"name": "one CT", "description": "of somebody", "attribution": "by somebody"}
    result = {"data": data, "files": {**names, "prediction": "prediction.nii", "scores": "scores.json"}}
    (tmp_path / "demo" / "result.json").write_text(json.dumps(result))
    return tmp_path / "demo"


def test_figures_of_the_demo(tmp_path, demo):
    chain = Pretended()
    record = {"command": "python x", **training.of_demo(chain, demo)}
    assert chain.commands == [["demo", f"--out={demo}"]]
    loss = SECTIONS["figure2"](record)
    assert "the demo's small network on one CT (paper: 3D-DenseUNet-569 on LiTS)" in loss.title
    rows = loss.tables[0].rows
    assert rows[0] == ["demo", "phase1", "10", "1,000", "1.0000", "0.1000"]
    assert rows[1][:4] == ["demo", "phase2", "20", "10,000"]
    assert "phase2 begins at 0.3750" in loss.notes[1] and "ends lower" in loss.notes[1]
    page, _ = write_page(tmp_path / "out", {"figure2": record, "figure5": record})
    for name in ("figure2", "figure5"):
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 10_000
        assert (tmp_path / "out" / f"{name}.pdf").stat().st_size > 5_000
    assert page.read_text().count("data:image/png") == 2


def test_figures_of_a_data_set(tmp_path):
    """Both schedules are trained, and the first validation case is segmented."""
    out, data = tmp_path / "out", tmp_path / "LiTS"
    write_case(data)
    (data / "prediction.nii").unlink()
    for variant in training.SCHEDULES:
        write_run(out / "runs" / variant, ["volume-7"], f"ds_dense_unet_569:{variant}")
    chain = Pretended()
    found = training.of_data(chain, out, tmp_path / "cache", data)
    assert [command[0] for command in chain.commands] == ["train", "predict"] * 2
    assert chain.commands[0][1].endswith("ds_dense_unet_569.py:ds_literal")
    assert chain.commands[3][2] == f"--input={data / 'volume-7.nii'}"
    assert [run["network"] for run in found["runs"]] == [
        "ds_dense_unet_569:ds_literal",
        "ds_dense_unet_569:ds",
    ]
    (case,) = found["runs"][0]["cases"]
    assert case["prediction"] == str(out / "runs" / "ds_literal-predictions" / "segmentation-7.nii.gz")
    record = {"command": "python x", "data": {"name": "LiTS (1 case)", "description": "d"}, **found}
    names = [one.name for one in SECTIONS["figure2"](record).drawings]
    assert names == ["figure2-ds_literal", "figure2-ds"]


def test_an_item_is_said_written_and_kept(tmp_path):
    said = []
    request = items.Request(tmp_path, tmp_path / "demo", None)
    page = items.reproduce(["figure3"], request, said.append)
    assert said[0].startswith("\n## Figure 3: Dice of the liver")
    assert json.loads((tmp_path / "figure3.json").read_text())["rows"][-1]["liver"]["case"] == 96.2
    for name in ("figure3.png", "figure3.pdf", page.name):
        assert (tmp_path / name).stat().st_size > 10_000
    items.reproduce(["figure4"], request, said.append)
    assert page.read_text().count("<h2>") == 2
