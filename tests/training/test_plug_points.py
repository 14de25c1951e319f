"""A network and a term of the loss, each added by one file and one line: trained, gone on with, predicted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from dsdenseunet.core.errors import InputError
from dsdenseunet.inference.predict import Predictor
from dsdenseunet.losses import combine
from dsdenseunet.memory.description import describe
from dsdenseunet.models import registry
from dsdenseunet.training import cascade
from dsdenseunet.training.checkpoint import load_best
from dsdenseunet.training.settings import check_config
from tests.training import tiny
from tests.training.test_logs import read_lines
from tests.training.toy_loss import Brier
from tests.training.toy_network import ToyNetwork


@pytest.fixture
def config(cache: Path, monkeypatch: pytest.MonkeyPatch) -> ConfigDict:
    monkeypatch.setitem(registry.FAMILIES, "toy", ToyNetwork)
    monkeypatch.setitem(combine.TERMS, "brier", Brier)
    config = tiny.get_config()
    config.data.cache = str(cache)
    config.model = {
        "family": "toy",
        "in_channels": 1,
        "num_classes": 3,
        "features": 4,
        "auxiliary_outputs": 1,
    }
    config.loss = {"deep_supervision": (0.5,), "brier": {"weight": 2.0, "power": 2.0}}
    config.phases.order = ("phase1",)
    return config


def test_they_train_go_on_and_predict(config: ConfigDict, tmp_path: Path):
    check_config(config)
    cascade.run(config, tmp_path)
    cascade.run(config, tmp_path, extend_to=3)
    losses = [line["loss"] for line in read_lines(tmp_path / "metrics.jsonl") if "loss" in line]
    # At first all classes are about as likely: 2 (4/9 + 1/9 + 1/9), whatever the output.
    assert len(losses) == 6
    assert losses[-1] < losses[0] < 2
    stored, variables = load_best(tmp_path, "phase1")
    assert set(variables) == {"params", "batch_stats"}
    assert variables["batch_stats"] == {}
    predictor = Predictor.of(stored, registry.build(stored.model), variables)
    labels = predictor.segment(np.zeros((4, 32, 32), np.int16))
    assert labels.shape == (4, 32, 32)
    described = describe(stored.model, (4, 32, 32))
    assert described.totals()["trainable"] == sum(leaf.size for leaf in leaves(variables["params"]))


def leaves(tree):
    return [leaf for part in tree.values() for leaf in (leaves(part) if isinstance(part, dict) else [part])]


def test_a_field_of_a_term_is_checked_by_the_term(config: ConfigDict):
    config.loss.brier.power = 0.5
    with pytest.raises(InputError, match=r"config.loss.brier.power"):
        check_config(config)


def test_weights_that_no_output_takes_are_refused(config: ConfigDict):
    config.loss.deep_supervision = (0.5, 0.25)
    with pytest.raises(InputError, match=r"2 weights"):
        check_config(config)
