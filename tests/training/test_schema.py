"""Runs of older versions: kept from when they were current, they must predict and start runs for ever.

`data/run_of_schema_N.tar.xz` is the folder of a run of a tiny network that the version of that time trained
on a phantom (without phase 1's whole state and what only a reader looks at); the .npz beside it holds part of
another phantom and the labels that the version predicted for it with the best weights of either phase.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.base import base_config
from dsdenseunet.core.errors import InputError
from dsdenseunet.inference.predict import Predictor
from dsdenseunet.models import registry
from dsdenseunet.training import schema
from dsdenseunet.training.checkpoint import load_best
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.settings import check_config, config_from_json, config_to_json, flatten
from dsdenseunet.training.state import create_state
from dsdenseunet.training.warm_start import Start, warm_start

DATA = Path(__file__).parent / "data"
KEPT = sorted(DATA.glob("run_of_schema_*.tar.xz"), key=lambda path: path.name)


def unpack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / "run"


@pytest.fixture(params=KEPT, ids=lambda path: path.name.partition(".")[0])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A run of an older version, and the file of what it predicted."""
    archive: Path = request.param
    return unpack(archive, tmp_path), archive.with_name(archive.name.replace(".tar.xz", ".npz"))


def test_a_run_of_every_older_version_predicts_what_it_did(kept: tuple[Path, Path]):
    workdir, predicted = kept
    with np.load(predicted) as then:
        for phase in ("phase1", "phase2"):
            config, variables = load_best(workdir, phase)
            predictor = Predictor.of(config, registry.build(config.model), variables)
            labels_DHW = predictor.segment(then["image_DHW"])
            expected_DHW = then[f"labels_{phase}_DHW"]
            assert set(np.unique(expected_DHW)) == {0, 1, 2}
            # Only voxels where two classes are as good as equal may go the other way on another processor:
            # 15 of 19,200 have their best two probabilities within 0.001.
            assert np.count_nonzero(labels_DHW != expected_DHW) <= 15


def test_a_run_of_every_older_version_starts_a_new_one(kept: tuple[Path, Path]):
    config, variables = load_best(kept[0])
    check_config(config)
    state = warm_start(create_state(build_recipe(config), seed=1), Start("an older run", variables))
    np.testing.assert_equal(state.params, variables["params"])


def test_a_kept_run_for_every_schema():
    assert [path.name for path in KEPT] == [
        f"run_of_schema_{number}.tar.xz" for number in range(1, max(schema.current(), 2))
    ]


def test_fields_of_the_newest_schema_are_those_of_the_base_config(tmp_path: Path):
    """Whoever adds, renames or drops a field adds it to schema.py too."""
    for archive in KEPT:
        workdir = unpack(archive, tmp_path / archive.name)
        fields = flatten(load_best(workdir)[0].to_dict())
        assert set(fields) == set(flatten(base_config().to_dict()))


def test_a_run_with_an_option_that_is_gone_is_one_with_the_next(tmp_path: Path):
    stored = json.loads((unpack(KEPT[0], tmp_path) / "config.json").read_text())
    assert stored.get("schema", 1) == 1
    stored["model"]["remat"] = "block"
    upgraded = config_from_json(stored, "config.json")
    assert upgraded.model.remat == "layer"
    check_config(upgraded)
    assert registry.build(upgraded.model).remat == "layer"


CHANGES = {
    2: schema.Change(
        renamed={"training.validate_epochs": "training.validate_every"},
        replaced={"model.remat": {"none": "never"}},
        added={"augment.noise": 0.0, "data.gamma": (0.5, 2.0)},
    ),
    3: schema.Change(dropped=("augment.noise",), added={"training.ema": None}),
}


def test_changes_are_applied_one_after_the_other(monkeypatch: pytest.MonkeyPatch):
    stored = config_to_json(base_config())
    monkeypatch.setattr(schema, "_CHANGES", CHANGES)
    stored["schema"] = 1
    upgraded = schema.upgrade(stored, "config.json")
    assert upgraded["training"]["validate_every"] == base_config().training.validate_epochs
    assert "validate_epochs" not in upgraded["training"]
    assert upgraded["model"]["remat"] == "never"
    assert upgraded["data"]["gamma"] == (0.5, 2.0)
    assert upgraded["training"]["ema"] is None
    assert "noise" not in upgraded["augment"]
    assert "schema" not in upgraded
    # What is of the current schema stays as it is; without a number it is of the first.
    stored["schema"] = 3
    assert schema.upgrade(stored, "config.json") == {k: v for k, v in stored.items() if k != "schema"}
    del stored["schema"]
    assert schema.upgrade(stored, "config.json") == upgraded


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema": 1000}, "made by a newer version"),
        ({"schema": "2"}, "schema '2'"),
        ({"schema": True}, "schema True"),
        ({"schema": 0}, "schema 0"),
        ({"training": 5}, "training"),
        ({"seed": None, "extra": 1}, "unknown extra"),
        ({"inference": {}}, "no inference.batch_size"),
    ],
)
def test_what_no_version_wrote_is_named(change: dict[str, object], named: str):
    with pytest.raises(InputError, match=r"config\.json") as error:
        config_from_json({**config_to_json(base_config()), **change}, "config.json")
    assert named in error.value.found
    assert "--config" not in str(error.value)


@pytest.mark.parametrize("values", [[], None, "config", 3])
def test_no_config_at_all_is_named(values: object):
    with pytest.raises(InputError, match=r"config\.json"):
        config_from_json(values, "config.json")


def test_the_number_is_stored_and_is_no_field():
    stored = config_to_json(ConfigDict(base_config()))
    assert stored["schema"] == schema.current()
    assert "schema" not in config_from_json(stored)
