"""Table 2's protocol with the smallest network, and its page."""

import dataclasses
import json

import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.runtime.stages import Chain
from experiments.benchmarks.reproduction import epochs, paper
from tests.reporting.reproduction.test_page import MADE
from tests.training import tiny

CONFIG = f"""
import sys
sys.path.insert(0, {str(tiny.ROOT)!r})
from tests.training import tiny

def get_config(variant):
    config = tiny.get_config()
    config.model.separable = variant == "ds"
    return config
"""
# Runs at the start of every stage's process: a network that compiles in a second.
SITE = """
from dsdenseunet.models import registry
from tests.training import tiny
registry.build = tiny.build_tiny
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A protocol of two epochs of two steps on one case, for a network that is there in every process."""
    (tmp_path / "config.py").write_text(CONFIG)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{tiny.ROOT}")
    config = str(tmp_path / "config.py")
    return epochs.Protocol((4, 32, 32), 2, 2, cases=(1,), variants=("standard",), config=config)


def test_protocol_of_table_2(tmp_path, small, capfd):
    cache = tiny.make_cache(tmp_path)
    made = epochs.table_2(Chain(tmp_path), tmp_path, cache, small)
    seconds = made["ours"]["standard"]["1"]
    # Compiling is in the first epoch.
    assert len(seconds) == 2 and seconds[0] > seconds[1] > 0
    run = tmp_path / "table2" / "standard-1"
    config = json.loads((run / "config.json").read_text())
    assert not config["model"]["separable"]
    assert config["data"]["explicit"] == {"train": ["volume-0"], "validation": ["volume-1"]}
    assert not (run / "phase1").exists()
    assert len(made["made"]) == 1
    capfd.readouterr()
    # What is done is not done again, and says the same.
    assert epochs.table_2(Chain(tmp_path), tmp_path, cache, small) == made
    assert capfd.readouterr().out.count("done before, reused") == 1


def test_too_few_cases_are_refused_before_anything_is_trained(tmp_path):
    cache = tiny.make_cache(tmp_path)
    with pytest.raises(InputError, match="3 cases"):
        epochs.table_2(Chain(tmp_path), tmp_path, cache, epochs.REDUCED)
    assert not (tmp_path / "table2").exists()


def test_the_full_protocol_is_the_papers():
    assert (epochs.FULL.patch, epochs.FULL.steps, epochs.FULL.epochs) == ((12, 224, 224), 10, 10)
    assert epochs.FULL.cases == tuple(paper.TABLE_2["ds"])
    assert dataclasses.replace(epochs.REDUCED, patch=epochs.FULL.patch, steps=10) == epochs.FULL


def test_epochs_of_a_log(tmp_path):
    lines = [
        {"phase": "phase1", "epoch": e, "step": s, "loss": 1, "steps_per_second": r} for e, s, r in RATES
    ]
    lines.append({"phase": "phase1", "epoch": 2, "step": 4, "validation": {"mean_dice": 1}})
    (tmp_path / "log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert epochs.seconds_of_epochs(tmp_path / "log") == [4.5, 0.75]


RATES = ((1, 1, 0.25), (1, 2, 2.0), (2, 3, 2.0), (2, 4, 4.0))


def test_runs_of_one_state_are_named_once():
    later = {**MADE, "started": "2027-01-01"}
    other = {**MADE, "commit": "f" * 16}
    assert epochs.different([MADE, later, other, other]) == [MADE, other]
