"""Any number of phases in a run: what each starts from and leaves alone, and how it goes on in its middle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.base import in_order, phase
from dsdenseunet.core.errors import InputError
from dsdenseunet.models import registry
from dsdenseunet.runtime import parallel
from dsdenseunet.training import cascade
from dsdenseunet.training.arrays import named
from dsdenseunet.training.checkpoint import load_best, phases_in
from dsdenseunet.training.settings import check_config
from tests.training import tiny
from tests.training.test_logs import read_lines

# Not in the order of the alphabet.
PHASES = ("pretrain", "joint", "finish")


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "build", tiny.build_tiny)


@pytest.fixture
def config(cache: Path) -> ConfigDict:
    """Everything; then a part frozen, with all running statistics; then a new head and a rate of its own."""
    config = tiny.get_config()
    config.data.cache = str(cache)
    config.optimizer.name, config.optimizer.muon_parameters = "muon", ("params/Conv_1/*",)
    config.phases = in_order(
        pretrain=phase(1),
        joint=phase(2, start="best:pretrain", frozen=("params/Conv_0/*", "batch_stats/*")),
        finish=phase(
            1,
            start="best:joint",
            leave_out=("params/Conv_1/*",),
            frozen=("params/Conv_0/kernel",),
            learning_rate=0.01,
            schedule="cosine",
        ),
    )
    return config


class CutError(Exception):
    """In the place of a power failure."""


def test_three_phases_with_a_frozen_part_and_a_partial_start_resume_exactly(
    config: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    cascade.run(config, whole)
    said = capsys.readouterr().out
    assert "6 of 8 arrays loaded" in said
    assert "left out as asked for: params/Conv_1/bias, params/Conv_1/kernel" in said
    assert phases_in(whole) == list(PHASES)
    lines = read_lines(whole / "metrics.jsonl")
    assert list(dict.fromkeys(line["phase"] for line in lines)) == list(PHASES)
    rates = [line["learning_rate"] for line in lines if line["phase"] == "finish" and "loss" in line]
    np.testing.assert_allclose(rates, [0.01, 0.0055], rtol=1e-6)

    first, second, third = (named(load_best(whole, name)[1]) for name in PHASES)
    for name, array in first.items():
        stays = name.startswith(("params/Conv_0/", "batch_stats/"))
        assert np.array_equal(array, second[name]) == stays, name
    np.testing.assert_array_equal(third["params/Conv_0/kernel"], first["params/Conv_0/kernel"])
    assert not np.array_equal(third["params/Conv_0/bias"], first["params/Conv_0/bias"])

    # In the second epoch of the second phase, and in the third before it has a checkpoint.
    place = parallel.place_batch
    for stop_at in (6, 4):
        left = iter(range(stop_at - 1))

        def place_or_fail(*arguments, left=left):
            if next(left, None) is None:
                raise CutError
            return place(*arguments)

        with monkeypatch.context() as patch, pytest.raises(CutError):
            patch.setattr(parallel, "place_batch", place_or_fail)
            cascade.run(config, cut)
    assert phases_in(cut) == list(PHASES[:2])
    cascade.run(config, cut)
    for name in PHASES:
        np.testing.assert_equal(tiny.final_arrays(cut, name), tiny.final_arrays(whole, name))
        np.testing.assert_equal(load_best(cut, name)[1], load_best(whole, name)[1])


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("phases.joint.frozen", ("params/stem/*",), "which fits no array"),
        ("phases.joint.frozen", ("params/*",), "all weights"),
        ("phases.pretrain.start", "nowhere", "holds no run"),
        ("training.phase", "joint", "no best weights of pretrain"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    config: ConfigDict, tmp_path: Path, field: str, value: object, said: str
):
    config.update_from_flattened_dict({field: value})
    with pytest.raises(InputError, match=said):
        cascade.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_phases_that_have_not_begun_may_still_change(
    config: ConfigDict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config.training.phase = "pretrain"
    cascade.run(config, tmp_path)
    config.phases.order = ("pretrain", "finish", "joint")
    config.phases.joint.epochs = 5
    config.phases.finish.start = "best:pretrain"
    cascade.run(config, tmp_path)
    assert "config.phases.joint.epochs: 2 -> 5" in capsys.readouterr().out
    config.phases.order = ("finish", "pretrain", "joint")
    config.phases.finish.start, config.phases.finish.leave_out = "random", ()
    with pytest.raises(InputError, match="phases that have begun keep their places"):
        cascade.run(config, tmp_path)


def test_a_phase_has_fields_of_the_network_of_its_own(
    config: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    built = []

    def build(model_config):
        built.append(model_config["bn_momentum"])
        return tiny.build_tiny(model_config)

    monkeypatch.setattr(registry, "build", build)
    config.optimizer.name = "sgd"
    config.phases = in_order(
        first=phase(1, model={"bn_momentum": 0.5}),
        last=phase(1, start="best:first"),
    )
    cascade.run(config, tmp_path)
    assert set(built) == {0.5, 0.99}
    # What predicts knows the network that the weights are of.
    momenta = {name: load_best(tmp_path, name)[0].model.bn_momentum for name in ("first", "last")}
    assert momenta == {"first": 0.5, "last": 0.99}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"bn_momentum": 2.0}, r"config.phases.joint.model.bn_momentum"),
        ({"momentum": 0.5}, r"a field that does not exist"),
        ({"num_classes": 4}, r"config.model's in all phases"),
    ],
)
def test_fields_that_a_phase_cannot_change_are_refused(config: ConfigDict, model, message):
    config.phases.joint.model = model
    with pytest.raises(InputError, match=message):
        check_config(config)
