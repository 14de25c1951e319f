"""The paper's count, layer by layer, the stages, and a value of the network in PyTorch's layers."""

import jax
import pytest

from configs.networks import VARIANTS
from dsdenseunet.core.errors import InputError
from dsdenseunet.memory.description import describe
from dsdenseunet.models.network import abstract_variables
from dsdenseunet.models.registry import build
from tests.models import authors
from tests.published_networks import assert_published

FULL = VARIANTS["cicek_unet"].model


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_parameters_are_the_papers():
    """With its three channels, and without the normalisations, which it does not count."""
    params = abstract_variables(build({**FULL, "in_channels": 3}))["params"]
    pairs = {name: part.get("pair", part) for name, part in params.items() if name != "head"}
    convolutions = {
        name: (count(pair["conv1"]), count(pair["conv2"]), count(params[name].get("up", {})))
        for name, pair in pairs.items()
    }
    assert convolutions == {
        "encoder0": (2_624, 55_360, 0),
        "encoder1": (110_656, 221_312, 0),
        "encoder2": (442_496, 884_992, 0),
        "encoder3": (1_769_728, 3_539_456, 0),
        "up2": (5_308_672, 1_769_728, 2_097_152),
        "up1": (1_327_232, 442_496, 524_288),
        "up0": (331_840, 110_656, 131_072),
    }
    head = count(params["head"])
    assert head == 195
    assert sum(map(sum, convolutions.values())) + head == 19_069_955
    assert count(params) == 19_069_955 + 4_672


def test_stages_for_lits():
    described = describe(FULL, (64, 96, 96))
    assert [(stage.name, stage.shape) for stage in described.stages] == [
        ("encoder0", (64, 96, 96, 64)),
        ("pool", (32, 48, 48, 64)),
        ("encoder1", (32, 48, 48, 128)),
        ("pool", (16, 24, 24, 128)),
        ("encoder2", (16, 24, 24, 256)),
        ("pool", (8, 12, 12, 256)),
        ("encoder3", (8, 12, 12, 512)),
        ("up2", (16, 24, 24, 256)),
        ("up1", (32, 48, 48, 128)),
        ("up0", (64, 96, 96, 64)),
        ("head", (64, 96, 96, 3)),
    ]
    totals = described.totals()
    assert totals["trainable"] == 19_072_899
    assert totals["non_trainable"] == 4_672
    # Of 128^3 voxels 1,954.0 G.
    assert round(totals["macs"] / 1e9 * 128**3 / (64 * 96 * 96), 1) == 1954.0
    assert_published(described, "configs/networks.py:cicek_unet")


def test_values_are_those_of_pytorchs_layers():
    """The authors' network is a model of Caffe, which was not at hand: PyTorch's layers in its place."""
    authors.assert_equal_to_authors("cicek_unet")


def test_a_field_of_another_family_is_refused():
    with pytest.raises(InputError, match="a field of cicek_unet"):
        build({**FULL, "growth_rate": 4})
