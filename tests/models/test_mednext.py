"""The authors' counts, stages and first values, a value of their own network, and blocks by Flax's layers."""

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from configs.networks import VARIANTS
from dsdenseunet.core.errors import InputError
from dsdenseunet.memory.description import describe
from dsdenseunet.models.mednext_blocks import Blocks
from dsdenseunet.models.network import abstract_variables
from dsdenseunet.models.registry import build
from dsdenseunet.ops import depthwise_choice
from tests.models import authors
from tests.published_networks import assert_published

TINY = {"family": "mednext", "in_channels": 1, "num_classes": 3, "width": 2, "kernel_size": 3}
TINY |= {"blocks": (1, 2, 1), "expansion": (2, 3, 1), "norm_epsilon": 1e-5, "dtype": "float32"}
TINY |= {"remat": "none", "auxiliary_outputs": 0}
# Of the released code, run, less the one parameter of it that nothing uses: by size and kernel, without and
# with deep supervision.
COUNTS = {
    ("s", 3): (5_550_947, 5_553_839),
    ("s", 5): (5_980_579, 5_983_471),
    ("b", 3): (10_526_339, 10_529_231),
    ("b", 5): (10_955_971, 10_958_863),
    ("m", 3): (17_548_995, 17_551_887),
    ("m", 5): (18_260_867, 18_263_759),
    ("l", 3): (61_779_299, 61_782_191),
    ("l", 5): (62_992_931, 62_995_823),
}


@pytest.mark.parametrize(("size", "kernel"), COUNTS)
def test_parameters(size, kernel, monkeypatch):
    # One operation to trace in the place of 125.
    monkeypatch.setattr(depthwise_choice, "fastest", lambda *_: "grouped")
    model = VARIANTS[f"mednext_{size}_k{kernel}"].model
    params = abstract_variables(build({**model, "auxiliary_outputs": 4}))["params"]
    counts = {name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in params.items()}
    supervision = sum(count for name, count in counts.items() if name.startswith("auxiliary"))
    assert (sum(counts.values()) - supervision, sum(counts.values())) == COUNTS[size, kernel]


def test_stages_of_the_small_one():
    described = describe({**VARIANTS["mednext_s_k3"].model, "auxiliary_outputs": 4}, (128, 128, 128))
    assert [(stage.name, stage.shape, stage.trainable) for stage in described.stages] == [
        ("stem", (128, 128, 128, 32), 64),
        ("encoder0", (128, 128, 128, 32), 10_304),
        ("down0", (64, 64, 64, 64), 9_344),
        ("encoder1", (64, 64, 64, 64), 36_992),
        ("down1", (32, 32, 32, 128), 35_072),
        ("encoder2", (32, 32, 32, 128), 139_520),
        ("down2", (16, 16, 16, 256), 135_680),
        ("encoder3", (16, 16, 16, 256), 541_184),
        ("down3", (8, 8, 8, 512), 533_504),
        ("bottleneck", (8, 8, 8, 512), 2_130_944),
        ("up3", (16, 16, 16, 256), 934_400),
        ("decoder3", (16, 16, 16, 256), 541_184),
        ("up2", (32, 32, 32, 128), 237_824),
        ("decoder2", (32, 32, 32, 128), 139_520),
        ("up1", (64, 64, 64, 64), 61_568),
        ("decoder1", (64, 64, 64, 64), 36_992),
        ("up0", (128, 128, 128, 32), 16_448),
        ("decoder0", (128, 128, 128, 32), 10_304),
        ("auxiliary1", (64, 64, 64, 3), 195),
        ("auxiliary2", (32, 32, 32, 3), 387),
        ("auxiliary3", (16, 16, 16, 3), 771),
        ("auxiliary4", (8, 8, 8, 3), 1_539),
        ("head", (128, 128, 128, 3), 99),
    ]
    # Their paper's figure.
    assert round(described.totals()["macs"] / 1e9) == 130
    assert_published(described, "configs/networks.py:mednext_s_k3_authors")


def test_values_are_those_of_the_authors_network():
    """Nine stages of unlike blocks and expansions, all five outputs."""
    authors.assert_equal_to_authors("mednext", train=True)


class PlainBranch(nn.Module):
    """What a block adds, in Flax's own layers."""

    features: int
    hidden: int

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        y = nn.Conv(channels, (3, 3, 3), feature_group_count=channels, name="depthwise")(x)
        y = nn.GroupNorm(channels, epsilon=1e-5, name="norm")(y)
        y = nn.gelu(nn.Conv(self.hidden, (1, 1, 1), name="expand")(y), approximate=False)
        return nn.Conv(self.features, (1, 1, 1), name="project")(y)


def test_blocks_equal_their_definition_one_after_the_other():
    blocks = Blocks(3, 3, 6, (3, 3, 3), 1e-5, remat=False, stack=2)
    x = jax.random.normal(jax.random.key(0), (2, 2, 3, 4, 3))
    params = jax.jit(blocks.init)(jax.random.key(1), x)["params"]
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)

    def fast(params, x):
        return jnp.sum(jnp.sin(blocks.apply({"params": params}, x)))

    def plain(params, x):
        for index in (0, 1):
            own = jax.tree.map(lambda leaf, index=index: leaf[index], params)
            x = x + PlainBranch(3, 6).apply({"params": own}, x)
        return jnp.sum(jnp.sin(x))

    got, expected = (jax.jit(jax.value_and_grad(f, argnums=(0, 1)))(params, x) for f in (fast, plain))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), got, expected)


def test_first_values_are_pytorchs():
    params = build({**TINY, "width": 32, "blocks": (1, 2, 1)}).first_values()["params"]
    bounds = {
        ("stem", "kernel"): 1,
        ("encoder0", "depthwise", "bias"): 1 / np.sqrt(27),
        ("bottleneck", "expand", "kernel"): 1 / np.sqrt(64),
        ("down0", "residual", "bias"): 1 / np.sqrt(32),
        # Transposed convolutions: of the outputs.
        ("up0", "residual", "kernel"): 1 / np.sqrt(32),
        ("head", "kernel"): 1 / np.sqrt(3),
    }
    flat = flax.traverse_util.flatten_dict(params)
    for path, bound in bounds.items():
        values = flat[path]
        assert np.abs(values).max() <= bound
        # Even, around 0: the mean of n values scatters by bound / sqrt(3 n), their square by little more.
        assert abs(values.mean()) < 5 * bound / np.sqrt(3 * values.size)
        np.testing.assert_allclose(values.std(), bound / np.sqrt(3), rtol=5 / np.sqrt(2 * values.size))
    np.testing.assert_array_equal(flat["down0", "norm", "scale"], np.ones(32))
    np.testing.assert_array_equal(flat["down0", "norm", "bias"], np.zeros(32))


def test_larger_kernels_start_from_resized_smaller_ones():
    """By hand: along an axis 1 0 0 becomes 1 0.6 0 0 0, and 0 1 0 becomes 0 0.4 1 0.4 0."""
    params = build(TINY).first_values()["params"]
    kernel = np.zeros((1, 3, 3, 3, 1, 2), np.float32)
    kernel[0, 0, 1, 1] = 1
    params["encoder0"]["depthwise"]["kernel"] = kernel
    large = build({**TINY, "kernel_size": 5})
    adapted = large.adapted(params)
    first, middle = np.array([1, 0.6, 0, 0, 0]), np.array([0, 0.4, 1, 0.4, 0])
    expected = np.einsum("i,j,k->ijk", first, middle, middle)
    got = adapted["encoder0"]["depthwise"]["kernel"]
    np.testing.assert_allclose(got[0, ..., 0, 0], expected, atol=1e-6)
    shapes = jax.tree.map(np.shape, dict(abstract_variables(large)["params"]))
    assert jax.tree.map(np.shape, adapted) == shapes
    np.testing.assert_array_equal(adapted["head"]["kernel"], params["head"]["kernel"])
    # To its own size nothing changes.
    jax.tree.map(np.testing.assert_array_equal, build(TINY).adapted(params), params)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blocks": (1, 2, 3, 4)}, "an odd number"),
        ({"blocks": (1, 2, 3), "expansion": (1, 2)}, "2 values for 3 stages"),
        ({"auxiliary_outputs": 2}, "at most 1"),
        ({"kernel_size": 4}, "an odd integer"),
    ],
)
def test_fields_that_make_no_network_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        build({**TINY, **changes})
