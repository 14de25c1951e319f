"""The networks of the paper's Table 1, at their narrowest: trained, gone on with, predicted."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import table_one
from dsdenseunet.inference.predict import Predictor
from dsdenseunet.memory.description import describe
from dsdenseunet.models import registry
from dsdenseunet.training import cascade
from dsdenseunet.training.checkpoint import load_best
from dsdenseunet.training.settings import check_config
from tests.training.test_logs import read_lines

# Variant to what makes it narrow, and a patch that fits.
NARROW = {
    "dense_unet_65": (
        {
            "block_layers": (1,),
            "growth_rate": 2,
            "bottleneck": 2,
            "stem_channels": 2,
            "decoder_channels": (2, 2),
        },
        (4, 8, 8),
    ),
}


@pytest.mark.parametrize("name", NARROW)
def test_they_train_go_on_and_predict(name: str, config: ConfigDict, tmp_path: Path):
    fields, patch = NARROW[name]
    config.model = {**table_one.VARIANTS[name].model, **fields}
    config.data.patch_size = patch
    config.phases.order = ("phase1",)
    config.phases.phase1.epochs = 1
    config.training.validate_patches = 0
    config.training.validate_cases = 1
    check_config(config)
    cascade.run(config, tmp_path)
    cascade.run(config, tmp_path, extend_to=2)
    losses = [line["loss"] for line in read_lines(tmp_path / "metrics.jsonl") if "loss" in line]
    assert len(losses) == 2 * config.training.steps_per_epoch
    assert np.isfinite(losses).all()
    stored, variables = load_best(tmp_path, "phase1")
    predictor = Predictor.of(stored, registry.build(stored.model), variables)
    assert predictor.segment(np.zeros(patch, np.int16)).shape == patch
    described = describe(stored.model, patch)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert described.totals()["trainable"] == parameters
