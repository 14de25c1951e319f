"""The arithmetic of Table 3, held to the networks' own counts part by part."""

import pytest

from configs.ds_dense_unet_569 import get_config
from dsdenseunet.memory.description import describe
from experiments.benchmarks.reproduction import counts, paper


@pytest.fixture(scope="module")
def table_3():
    return counts.table_3()


@pytest.mark.parametrize("variant", counts.VARIANTS)
def test_every_part_is_the_networks(variant):
    model = get_config(variant).model
    described = {stage.name: stage for stage in describe(model, (4, 32, 32)).stages if stage.trainable}
    parts = {part.name: part for part in counts.parts(model)}
    assert parts.keys() == described.keys()
    for name, part in parts.items():
        assert 2 * part.normalised == described[name].non_trainable, name
        assert counts.trainable([part]) == described[name].trainable, name


def test_table_3_has_the_papers_numbers_and_ours(table_3):
    assert table_3["paper"]["ds"] == paper.TABLE_3["ds"]
    assert table_3["ours"]["ds"]["non_trainable"] == 162_712 == table_3["paper"]["ds"]["non_trainable"]
    assert table_3["ours"]["ds"]["trainable"] == 36_270_883
    assert table_3["ours"]["standard"]["trainable"] == 53_016_327


def test_sum_of_the_normalised_channels(table_3):
    """57,264 at the inputs of layers, 2 x 128 x 76 inside them, and the rest."""
    groups = table_3["normalised"]["ds"]
    assert list(groups.values()) == [57_264, 2 * 128 * 76, 1_736, 1_660, 96, 1_080, 64]
    assert sum(groups.values()) == 81_356


def test_layers_sum_to_the_papers(table_3):
    layers = table_3["layers"]
    dense = layers["dense_layers"] * layers["of_a_dense_layer"]
    rest = sum(layers[name] for name in ("stem", "transitions", "last", "decoder"))
    assert dense + rest == table_3["ours"]["ds"]["layers"] == paper.LAYERS


def test_no_pattern_of_biases_closes_the_count(table_3):
    biases = table_3["biases"]
    assert biases["patterns"] == 256
    assert [one["over"] for one in biases["near"]] == [5, 5, 8, 8]
    ours = [kind for kind, there in counts.BIASED.items() if there]
    assert ours in [one["kinds"] for one in biases["near"] if one["over"] == 8]


def test_layers_that_add_256_fit_the_standard_columns_statistics_and_nothing_else(table_3):
    wider = table_3["wider"]
    assert wider["added"] == 256
    assert 2 * sum(wider["normalised"].values()) == paper.TABLE_3["standard"]["non_trainable"]
    goal = paper.TABLE_3["standard"]["trainable"]
    assert wider["trainable_narrow_decoder"] < goal < wider["trainable"]
