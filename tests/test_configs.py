"""Every config is complete, makes a network that its patch fits, and says how to run it."""

import importlib
from pathlib import Path

import pytest

from configs import cascades, ds_dense_unet_569, hippocampus, lits14, networks, phantoms, table_one
from configs.base import base_config
from dsdenseunet.core.errors import InputError
from dsdenseunet.data import patients
from dsdenseunet.models import registry
from dsdenseunet.training import stages
from dsdenseunet.training.settings import check_config, flatten

CONFIGS = sorted(path.stem for path in (Path(__file__).resolve().parents[1] / "configs").glob("*.py"))
EXPERIMENTS = [name for name in CONFIGS if name not in ("__init__", "base")]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_config(name):
    module = importlib.import_module(f"configs.{name}")
    config = module.get_config()
    stages.check(config)
    for own in stages.configs(config).values():
        registry.check_patch(registry.build(own.model).stride, own.data.patch_size)
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


TABLES = (networks, table_one)


@pytest.mark.parametrize(("table", "name"), [(table, name) for table in TABLES for name in table.VARIANTS])
def test_networks_differ_from_the_base_in_network_and_patch_alone(table, name):
    base = flatten(base_config().to_dict())
    config = table.get_config(name)
    check_config(config)
    registry.check_patch(registry.build(config.model).stride, config.data.patch_size)
    given = flatten(config.to_dict())
    changed = {field for field in base.keys() | given.keys() if base.get(field) != given.get(field)}
    assert {field for field in changed if not field.startswith("model.")} <= {"name", "data.patch_size"}
    assert given["name"] == f"{table.__name__.removeprefix('configs.')}:{name}"


@pytest.mark.parametrize(
    ("table", "name"),
    [(table, name) for table in TABLES for name, one in table.VARIANTS.items() if one.authors],
)
def test_recipes_of_networks_authors(table, name):
    config = table.get_config(f"{name}_authors")
    check_config(config)
    registry.check_patch(registry.build(config.model).stride, config.data.patch_size)
    assert config.name == f"{table.__name__.removeprefix('configs.')}:{name}_authors"


@pytest.mark.parametrize("name", {**hippocampus.CHOICES, **hippocampus.NETWORKS})
def test_a_choice_for_the_hippocampus_changes_what_it_names_and_a_network_no_more_than_the_recipe(name):
    base = flatten(hippocampus.get_config("recipe").to_dict())
    config = hippocampus.get_config(name)
    check_config(config)
    registry.check_patch(registry.build(config.model).stride, config.data.patch_size)
    given = flatten(config.to_dict())
    changed = {field for field in base.keys() | given.keys() if base.get(field) != given.get(field)}
    changed -= {"name"}
    if name in hippocampus.CHOICES:
        assert changed == set(hippocampus.CHOICES[name])
    else:
        recipe = {"data.patch_size", "optimizer.name", "optimizer.learning_rate"}
        assert {field for field in changed if not field.startswith("model.")} == recipe


@pytest.mark.parametrize("name", hippocampus.NETWORKS)
def test_a_network_for_lits14_changes_no_more_than_the_optimiser_of_its_best_recipe(name):
    base = flatten(lits14.get_config("best").to_dict())
    config = lits14.get_config(name)
    check_config(config)
    registry.check_patch(registry.build(config.model).stride, config.data.patch_size)
    given = flatten(config.to_dict())
    changed = {field for field in base.keys() | given.keys() if base.get(field) != given.get(field)}
    recipe = {"name", "optimizer.name", "optimizer.learning_rate"}
    assert {field for field in changed if not field.startswith("model.")} == recipe
    assert config.model.num_classes == 3


def test_what_looks_like_one_patient_is_in_one_fold_of_lits14():
    data = lits14.get_config("best").data
    names = [f"volume-{number}" for number in (0, 3, 4, 5, 7, 8, 9, 10, 11, 12, 14, 15, 16, 18)]
    owners = patients.by_groups(names, data.same_patient)
    folds = patients.folds_by_patient(owners, names, data.folds, data.fold_seed)
    fold_of = {name: number for number, fold in enumerate(folds) for name in fold["val"]}
    assert fold_of.keys() == set(names)
    assert len({fold_of[f"volume-{number}"] for number in (7, 8, 9, 10)}) == 1
    assert fold_of["volume-14"] == fold_of["volume-15"]


@pytest.mark.parametrize("name", ("best", *hippocampus.NETWORKS))
def test_a_network_for_phantoms_is_that_of_lits14_on_smaller_patches(name):
    base, config = lits14.get_config(name), phantoms.get_config(name)
    check_config(config)
    registry.check_patch(registry.build(config.model).stride, config.data.patch_size)
    base, given = flatten(base.to_dict()), flatten(config.to_dict())
    own = {"name", "data.patch_size", "data.same_patient", "data.cache"}
    assert {field for field in base.keys() | given.keys() if base.get(field) != given.get(field)} == own


def test_unknown_network_names_the_known_ones():
    with pytest.raises(ValueError, match="expected one of best, separable_unet"):
        phantoms.get_config("ds")
    with pytest.raises(ValueError, match=r"expected one of unet, .*unet_authors"):
        networks.get_config("u-net")


@pytest.mark.parametrize("name", cascades.CASCADES)
def test_a_stage_alone_is_what_the_cascade_trains(name):
    config = cascades.get_config(name)
    stages.check(config)
    for part, own in stages.configs(config).items():
        alone = cascades.get_config(f"{name}.{part}")
        assert alone.to_dict() == own.to_dict()
        registry.check_patch(registry.build(own.model).stride, own.data.patch_size)
    with pytest.raises(InputError, match="several stages"):
        check_config(config)
    with pytest.raises(ValueError, match=part):
        cascades.get_config(f"{name}.spleen")
