"""Numbers in the documents are those that the programs give."""

import json
import re

import pytest

from configs.ds_dense_unet_569 import get_config
from dsdenseunet.memory.description import describe
from tests.documents import ROOT
from tests.published_networks import assert_published

RESULT = ROOT / "docs/results/demo.json"


@pytest.fixture(scope="module")
def networks():
    return {name: describe(get_config(name).model, (12, 224, 224)) for name in ("ds", "standard")}


def rows(path):
    """Cells of each table row of a document, by the row's first cell."""
    lines = re.findall(r"^\|(.*)\|$", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    return {cells[0]: cells[1:] for line in lines if (cells := [cell.strip() for cell in line.split("|")])}


def test_stage_table(networks):
    table = rows("docs/explanation/network.md")
    for stage in networks["ds"].stages:
        shape, parameters, operations = table[stage.name][-3:]
        assert shape == " x ".join(map(str, stage.shape))
        assert parameters == (f"{stage.trainable:,}" if stage.trainable else "")
        assert operations == (f"{stage.macs / 1e6:,.1f}" if stage.macs else "")


def test_the_record_that_the_pages_of_networks_are_made_of(networks):
    for name, described in networks.items():
        assert_published(described, f"configs/ds_dense_unet_569.py:{name}")


def test_parameter_counts(networks):
    ds, standard = (networks[name].totals() for name in ("ds", "standard"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for totals in (ds, standard):
        counts = [f"{totals[name]:,}" for name in ("trainable", "non_trainable", "layers")]
        assert f"| {' | '.join(counts)} |" in readme
    text = (ROOT / "docs/explanation/network.md").read_text(encoding="utf-8")
    for name in ("trainable", "non_trainable", "total"):
        assert f"{ds[name]:,}" in text
        assert f"{standard[name]:,}" in text
    assert f"({round(ds['macs'] / 1e9)} G multiply-adds against {round(standard['macs'] / 1e9)} G)" in text


def test_result_of_the_demo():
    """The table of getting started is that of docs/results/demo.json."""
    path = "docs/getting-started/README.md"
    table = result_table(json.loads(RESULT.read_text(encoding="utf-8")))
    assert table in (ROOT / path).read_text(encoding="utf-8"), f"{path} must hold\n\n{table}"


def result_table(result):
    """Markdown of a demo's result.json: the scores, and all that a published number carries."""
    seconds = sum(stage["seconds"] for stage in result["stages"])
    versions = ", ".join(f"{name} {result['versions'][name]}" for name in ("jax", "flax"))
    hardware = result["hardware"]
    return "\n".join(
        [
            "| held-out part | Dice |",
            "|---|---|",
            f"| liver | {result['liver_dice']:.3f} |",
            f"| tumour | {result['tumour_dice']:.3f} |",
            "",
            f"Config {result['config_name']}, commit {result['commit'][:12]}, {result['data']['name']}, "
            f"scoring mode {result['scoring_mode']}, {seconds / 60:.1f} minutes",
            f"on {hardware['cpu_cores']} CPU cores, {versions}; all of it in "
            "[its result.json](../results/demo.json).",
        ]
    )


def test_result_table_names_what_it_was_measured_with():
    result = {
        "liver_dice": 0.9,
        "tumour_dice": 0.75,
        "config_name": "demo",
        "commit": "0123456789abcdef",
        "data": {"name": "LiTS case 117"},
        "scoring_mode": "corrected",
        "stages": [{"seconds": 90}, {"seconds": 30}],
        "hardware": {"cpu_cores": 2},
        "versions": {"jax": "0.10.2", "flax": "0.12.8", "numpy": "2"},
    }
    table = result_table(result)
    assert "| liver | 0.900 |\n| tumour | 0.750 |" in table
    assert "commit 0123456789ab, LiTS case 117, scoring mode corrected, 2.0 minutes" in table
    assert "2 CPU cores, jax 0.10.2, flax 0.12.8" in table
