"""Counts of the paper, of hand arithmetic, and of XLA on the same convolutions."""

import functools
import itertools
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from jax import lax

from configs.base import base_config
from configs.ds_dense_unet_569 import get_config
from dsdenseunet.core.errors import InputError
from dsdenseunet.memory.description import describe
from dsdenseunet.models import registry
from dsdenseunet.models.layers import Conv
from dsdenseunet.models.network import Network, Outputs
from dsdenseunet.models.registry import build
from dsdenseunet.ops.pool import max_pool

TINY = {
    "block_layers": (2, 1),
    "growth_rate": 4,
    "bottleneck": 8,
    "stem_channels": 6,
    "decoder_channels": (9, 7, 5),
}
PATCH = (4, 8, 16)


def tiny(**changes):
    return {**base_config().model.to_dict(), **TINY, **changes}


@functools.cache
def paper(variant):
    return describe(get_config(variant).model, (12, 224, 224))


@pytest.mark.parametrize(
    ("variant", "trainable", "non_trainable", "layers"),
    [("ds", 36_270_883, 162_712, 569), ("standard", 53_016_327, 143_256, 569 - 76)],
)
def test_totals_of_the_paper(variant, trainable, non_trainable, layers):
    totals = paper(variant).totals()
    assert totals["trainable"] == trainable
    assert totals["non_trainable"] == non_trainable
    assert totals["total"] == trainable + non_trainable
    assert totals["layers"] == layers


def test_layers_by_stage():
    layers = {stage.name: stage.layers for stage in paper("ds").stages}
    assert sum(n for name, n in layers.items() if name.startswith("block")) == 76 * 7
    assert sum(n for name, n in layers.items() if name.startswith("transition")) == 12
    assert sum(n for name, n in layers.items() if name.startswith("up")) == 5 * 4
    assert (layers["stem"], layers["norm"], layers["head"]) == (3, 2, 0)


def test_shapes_of_the_paper():
    assert [(stage.name, stage.shape) for stage in paper("ds").stages] == [
        ("stem", (6, 112, 112, 96)),
        ("pool", (3, 56, 56, 96)),
        ("block1", (3, 56, 56, 224)),
        ("transition1", (3, 28, 28, 112)),
        ("block2", (3, 28, 28, 496)),
        ("transition2", (3, 14, 14, 248)),
        ("block3", (3, 14, 14, 1016)),
        ("transition3", (3, 7, 7, 508)),
        ("block4", (3, 7, 7, 1660)),
        ("norm", (3, 7, 7, 1660)),
        ("up1", (3, 14, 14, 504)),
        ("up2", (3, 28, 28, 224)),
        ("up3", (3, 56, 56, 192)),
        ("up4", (6, 112, 112, 96)),
        ("up5", (12, 224, 224, 64)),
        ("head", (12, 224, 224, 3)),
    ]


def test_multiply_adds_and_activations_by_hand():
    """Input 4 x 8 x 16; stem 2 x 4 x 8 = 64 voxels; block 1 1 x 2 x 4 = 8; block 2 1 x 1 x 2 = 2."""
    stages = {stage.name: stage for stage in describe(tiny(), PATCH).stages}
    macs = {
        "stem": 64 * 343 * 6,
        "pool": 0,
        "block1": 8 * ((6 * 8 + 27 * 8 + 8 * 4) + (10 * 8 + 27 * 8 + 8 * 4)),
        "transition1": 8 * 14 * 7 + 2 * 27 * 7,
        "block2": 2 * (7 * 8 + 27 * 8 + 8 * 4),
        "norm": 0,
        "up1": 8 * 27 * 11 * 9,
        "up2": 64 * 27 * 9 * 7,
        "up3": 512 * 27 * 7 * 5,
        "head": 512 * 5 * 3,
    }
    assert {name: stage.macs for name, stage in stages.items()} == macs
    values = {
        "stem": 512 + 64 * (6 + 6),
        "pool": 8 * 6,
        # Each layer: norm, conv, norm, depthwise, norm, pointwise; then the block's output.
        "block1": 8 * ((6 + 4 * 8 + 4) + (10 + 4 * 8 + 4) + 14),
        "transition1": 8 * (14 + 7) + 2 * 7,
        "block2": 2 * ((7 + 4 * 8 + 4) + 11),
        "norm": 2 * 11,
        # Upsampled map, conv, norm.
        "up1": 8 * (11 + 9 + 9),
        "up2": 64 * (9 + 7 + 7),
        "up3": 512 * (7 + 5 + 5),
        "head": 512 * (5 + 3),
    }
    assert {name: stage.activation_bytes // 4 for name, stage in stages.items()} == values


@pytest.mark.parametrize("link", ["add", "concat"])
@pytest.mark.parametrize("separable", [True, False])
def test_multiply_adds_are_those_that_xla_counts(link, separable):
    """XLA counts the operations of the network written down with `lax` convolutions and nothing else."""

    def conv(x, channels, size=3, stride=(1, 1, 1), depthwise=False):
        groups = x.shape[-1] if depthwise else 1
        # Padded beforehand, as XLA does not count taps that fall into a convolution's own padding.
        x = lax.pad(x, 0.0, [(0, 0, 0), *[(size // 2, size // 2, 0)] * 3, (0, 0, 0)])
        return lax.conv_general_dilated(
            x,
            jnp.ones((*(size,) * 3, x.shape[-1] // groups, channels)),
            stride,
            "VALID",
            feature_group_count=groups,
            dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        )

    def dense_layer(x):
        y = conv(x, 8, size=1)
        y = conv(conv(y, 8, depthwise=True), 4, size=1) if separable else conv(y, 4)
        return jnp.concatenate([x, y], -1)

    def up(x, skip, features, axes):
        for axis in axes:
            # Nearest neighbour: the weights of linear upsampling are no convolution's multiply-adds.
            doubled = (*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])
            x = jnp.stack([x, x], axis + 1).reshape(doubled)
        return conv(jnp.concatenate([x, skip], -1) if link == "concat" and skip is not None else x, features)

    def network(x):
        stem = conv(x, 6, size=7, stride=(2, 2, 2))
        block1 = dense_layer(dense_layer(stem[:, ::2, ::2, ::2]))
        x = conv(conv(block1, 7, size=1), 7, stride=(1, 2, 2), depthwise=separable)
        x = up(dense_layer(x), block1, 9, (2, 3))
        x = up(x, stem, 7, (1, 2, 3))
        return conv(up(x, None, 5, (1, 2, 3)), 3, size=1)

    lowered = jax.jit(network).lower(jnp.ones((1, *PATCH, 1)))
    described = describe(tiny(link=link, separable=separable), PATCH)
    assert lowered.cost_analysis()["flops"] == 2 * described.totals()["macs"]


@pytest.mark.parametrize(
    ("link", "separable", "blocks"),
    list(itertools.product(["add", "none", "project", "concat"], [True, False], [(1, 2), (1, 1, 2, 1)])),
)
def test_every_variant_has_the_parameters_of_its_network(link, separable, blocks):
    decoder = tuple(range(4, 5 + len(blocks)))
    model = tiny(link=link, separable=separable, block_layers=blocks, decoder_channels=decoder)
    variables = build(model).first_values()
    described = describe(model, (4, 32, 64))
    totals = described.totals()
    for kind, name in (("params", "trainable"), ("batch_stats", "non_trainable")):
        assert totals[name] == sum(leaf.size for leaf in jax.tree.leaves(variables[kind]))
    links = len(blocks) * (link == "project")
    dense = 7 if separable else 6
    assert totals["layers"] == 3 + dense * sum(blocks) + 4 * (len(blocks) - 1) + 2 + 4 * len(decoder) + links
    assert described.stages[-1].shape == (4, 32, 64, 3)
    assert f"link ({link})" in described.table() or link == "none"


def test_activations_halve_in_bfloat16_but_for_the_heads_convolution():
    # It runs in float32: its logits do not halve, and its input, 5 channels, is there in both types.
    logits, head_input = 512 * 3 * 4, 512 * 5 * 4
    whole, half = (
        describe(tiny(dtype=d), PATCH).totals()["activation_bytes"] for d in ("float32", "bfloat16")
    )
    assert half == whole // 2 + logits // 2 + head_input


def test_what_a_stage_sees_is_read_off_the_program():
    seen = {stage.name: stage.inputs for stage in describe(tiny(), PATCH).stages}
    assert seen == {
        "stem": ("image",),
        "pool": (),
        "block1": ("stem",),
        "transition1": ("block1",),
        "block2": ("transition1",),
        "norm": ("block2",),
        "up1": ("block1", "norm"),
        "up2": ("stem", "up1"),
        "up3": ("up2",),
        "head": ("up3",),
    }
    assert describe(tiny(link="none"), PATCH).stages[6].inputs == ("norm",)


def test_rematerialisation_changes_nothing():
    assert describe(tiny(remat="layer"), PATCH) == describe(tiny(), PATCH)


class Toy(Network):
    """Another family: two convolutions and a pool between them."""

    in_channels: int = 2
    num_classes: int = 3
    stride: tuple[int, int, int] = (2, 2, 2)

    @nn.compact
    def __call__(self, image_BDHWC, train):
        x = Conv(2, 4, (1, 3, 3), use_bias=False, name="first")(image_BDHWC)
        return Outputs(nn.Conv(3, (1, 1, 1), name="second")(max_pool(x)))


def test_another_family_needs_nothing_more(monkeypatch):
    monkeypatch.setitem(registry.FAMILIES, "toy", Toy)
    described = describe({"family": "toy"}, (2, 4, 4))
    assert [(stage.name, stage.operation, stage.macs) for stage in described.stages] == [
        ("first", "conv 1x3x3", 32 * 9 * 2 * 4),
        ("pool", "pool by 2 x 2 x 2", 0),
        ("second", "conv 1^3", 4 * 4 * 3),
    ]
    assert described.totals()["trainable"] == 72 + 15
    assert described.totals()["non_trainable"] == 0


def test_patch_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="multiples of"):
        describe(tiny(), (5, 8, 16))


def test_command(tmp_path):
    file = tmp_path / "counts.json"
    command = [sys.executable, "-m", "experiments.describe", "--config=configs/ds_dense_unet_569.py:ds"]
    drawing = tmp_path / "drawing.svg"
    done = subprocess.run(
        [*command, f"--json={file}", f"--drawing={drawing}"],
        **{"capture_output": True, "text": True, "check": False, "timeout": 120},
    )
    assert done.returncode == 0, done.stderr
    assert "569 layers, 36,270,883 trainable parameters" in done.stdout.splitlines()[-1]
    written = json.loads(file.read_text())
    expected = {"trainable": 36_270_883, "non_trainable": 162_712, "total": 36_433_595, "layers": 569}
    assert {name: written[name] for name in expected} == expected
    assert written["macs"] == sum(stage["macs"] for stage in written["stages"])
    assert written["config"] == "ds_dense_unet_569:ds"
    assert "block4" in drawing.read_text()
