"""Every config is complete, makes a network that its patch fits, and says how to run it."""

import importlib
from pathlib import Path

import pytest

from configs import ds_dense_unet_569
from configs.base import base_config
from dsdenseunet.models import registry
from dsdenseunet.training.settings import check_config, flatten

CONFIGS = sorted(path.stem for path in (Path(__file__).resolve().parents[1] / "configs").glob("*.py"))
EXPERIMENTS = [name for name in CONFIGS if name not in ("__init__", "base")]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_config(name):
    module = importlib.import_module(f"configs.{name}")
    config = module.get_config()
    check_config(config)
    registry.check_patch(registry.build(config.model).stride, config.data.patch_size)
    assert config.name.partition(":")[0] == name
    assert "python -m experiments." in module.__doc__


@pytest.mark.parametrize(
    ("variant", "changed"),
    [
        ("ds", {"name"}),
        ("standard", {"name", "model.separable"}),
        ("ds_literal", {"name", "optimizer.lr_floor", "phases.phase2.continue_schedule"}),
        (
            "standard_literal",
            {"name", "model.separable", "optimizer.lr_floor", "phases.phase2.continue_schedule"},
        ),
    ],
)
def test_variants_of_the_paper_differ_from_the_base_as_they_say(variant, changed):
    base = flatten(base_config().to_dict())
    config = flatten(ds_dense_unet_569.get_config(variant).to_dict())
    assert {name for name, value in config.items() if value != base[name]} == changed


def test_unknown_variant_names_the_known_ones():
    with pytest.raises(ValueError, match="ds, standard, ds_literal or standard_literal"):
        ds_dense_unet_569.get_config("separable")
