"""Published networks, the paper's Table 1 among them, at their narrowest: trained, resumed, predicted."""

from __future__ import annotations

import itertools
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import networks, table_one
from dsdenseunet.inference.predict import Predictor
from dsdenseunet.memory.description import describe
from dsdenseunet.models import registry
from dsdenseunet.ops import conv, depthwise_choice
from dsdenseunet.training import cascade
from dsdenseunet.training.arrays import matches, named
from dsdenseunet.training.checkpoint import load_best
from dsdenseunet.training.settings import check_config
from tests.training.test_logs import read_lines

VARIANTS = {**table_one.VARIANTS, **networks.VARIANTS}
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
    "kaluva": ({"poolings": 1, "layers": 1, "growth_rate": 2, "first_channels": 2}, (4, 8, 8)),
    "ra_unet": ({"filters": 1, "levels": 1}, (4, 8, 8)),
    "residual_unet": (
        {"widths": (2, 3), "encoder_blocks": (1, 2), "decoder_convs": (1,), "remat": "stage"},
        (4, 8, 8),
    ),
    "cicek_unet": ({"widths": (2, 3)}, (4, 8, 8)),
    "mednext_s_k3": (
        {"width": 2, "blocks": (1, 2, 1), "expansion": (1, 2, 1), "remat": "block", "auxiliary_outputs": 1},
        (8, 16, 16),
    ),
}
NARROW_HYBRID = {
    "slices_blocks": (1,),
    "slices_growth": 2,
    "slices_decoder": (2, 3),
    "volume_blocks": (1,),
    "volume_growth": 2,
    "volume_decoder": (2, 3),
    "stem_channels": 2,
}


# Half a minute each: one of the paper's Table 1 and one of today's with every change, the others by
# make test-long.
SHOWN = ("dense_unet_65", "mednext_s_k3")


@pytest.mark.parametrize(
    "name", [name if name in SHOWN else pytest.param(name, marks=pytest.mark.long) for name in NARROW]
)
def test_they_train_go_on_and_predict(
    name: str, config: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # The plain forms compile in a fraction of the time of the fast ones, which have tests of their own.
    monkeypatch.setattr(conv, "form_on_cpu", lambda *_: "direct")
    monkeypatch.setattr(depthwise_choice, "fastest", lambda *_: "grouped")
    fields, patch = NARROW[name]
    config.model = {**VARIANTS[name].model, **fields}
    config.loss.deep_supervision = (0.5,) * fields.get("auxiliary_outputs", 0)
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


@pytest.mark.long
def test_mednext_goes_on_with_larger_kernels(
    config: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """UpKern, as its authors train kernels of 5^3: from a finished run with 3^3, by config alone."""
    monkeypatch.setattr(conv, "form_on_cpu", lambda *_: "direct")
    monkeypatch.setattr(depthwise_choice, "fastest", lambda *_: "grouped")
    narrow = {"width": 2, "blocks": (1, 1, 1), "expansion": (1, 1, 1)}
    config.data.patch_size, config.data.augment_on_device = (4, 8, 8), False
    config.phases.order = ("phase1",)
    config.phases.phase1.epochs = 1
    config.training.validate_patches = 0
    config.training.validate_cases = 1
    config.model = {**VARIANTS["mednext_s_k3"].model, **narrow}
    cascade.run(config, tmp_path / "k3")
    config.model = {**VARIANTS["mednext_s_k5"].model, **narrow}
    config.phases.phase1.start = str(tmp_path / "k3")
    # So small that every weight stays where it starts.
    config.optimizer.learning_rate = config.optimizer.lr_floor = 1e-12
    cascade.run(config, tmp_path / "k5")
    before, (stored, after) = load_best(tmp_path / "k3")[1]["params"], load_best(tmp_path / "k5")
    kernels = [name for name in named(after["params"]) if name.endswith("depthwise/kernel")]
    assert f"{len(kernels)} brought to another shape" in capsys.readouterr().out
    assert after["params"]["encoder0"]["depthwise"]["kernel"].shape[-5:-2] == (5, 5, 5)
    jax.tree.map(
        lambda resized, trained: np.testing.assert_allclose(trained, resized, atol=1e-9),
        registry.build(stored.model).adapted(before),
        after["params"],
    )


@pytest.mark.long
def test_h_dense_unets_stages(config: ConfigDict, tmp_path: Path):
    """Each keeps what its authors freeze, and the last one predicts."""
    authors = table_one.get_config("h_dense_unet_authors")
    config.model = {**authors.model, **NARROW_HYBRID}
    config.phases = authors.phases
    config.data.patch_size = (4, 8, 8)
    config.training.validate_patches = 0
    config.training.validate_cases = 1
    for name in config.phases.order:
        config.phases[name].epochs = 1
    check_config(config)
    cascade.run(config, tmp_path)
    best = {name: named(load_best(tmp_path, name)[1]) for name in config.phases.order}
    for before, after in itertools.pairwise(config.phases.order):
        frozen = config.phases[after].frozen
        kept, changed = [], []
        for name, array in best[before].items():
            same = np.array_equal(array, best[after][name])
            (kept if same else changed).append(name)
        assert {name for name in best[before] if matches(name, frozen)} <= set(kept)
        assert any(name.startswith("params/") for name in changed) == (after == "end_to_end")
    stored, variables = load_best(tmp_path)
    assert stored.model.stage == "end_to_end"
    predictor = Predictor.of(stored, registry.build(stored.model), variables)
    assert predictor.segment(np.zeros((4, 8, 8), np.int16)).shape == (4, 8, 8)
