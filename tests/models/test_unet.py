"""nnU-Net's own count for LiTS, its stages, and that recomputing changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.networks import VARIANTS
from dsdenseunet.core.errors import InputError
from dsdenseunet.memory.description import describe
from dsdenseunet.models.registry import build
from tests.models import authors
from tests.published_networks import assert_published

NNUNET = {**VARIANTS["unet"].model, "auxiliary_outputs": 4}
TINY = {"widths": (2, 4), "encoder_convs": (1, 1), "decoder_convs": (1,), "auxiliary_outputs": 0}


def test_parameters_are_those_of_nnu_nets_plan_for_lits():
    """Of each stage as the released code has them; multiply-adds too, but for what it counts otherwise."""
    described = describe(NNUNET, (128, 128, 128))
    stages = {stage.name: (stage.shape, stage.trainable) for stage in described.stages}
    assert stages == {
        "encoder0": ((128, 128, 128, 32), 28_704),
        "encoder1": ((64, 64, 64, 64), 166_272),
        "encoder2": ((32, 32, 32, 128), 664_320),
        "encoder3": ((16, 16, 16, 256), 2_655_744),
        "encoder4": ((8, 8, 8, 320), 4_978_560),
        "encoder5": ((4, 4, 4, 320), 5_531_520),
        "up4": ((8, 8, 8, 320), 819_520 + 8_296_320),
        "up3": ((16, 16, 16, 256), 655_616 + 5_309_952),
        "up2": ((32, 32, 32, 128), 262_272 + 1_327_872),
        "up1": ((64, 64, 64, 64), 65_600 + 332_160),
        "up0": ((128, 128, 128, 32), 16_416 + 83_136),
        "auxiliary1": ((64, 64, 64, 3), 195),
        "auxiliary2": ((32, 32, 32, 3), 387),
        "auxiliary3": ((16, 16, 16, 3), 771),
        "auxiliary4": ((8, 8, 8, 3), 963),
        "head": ((128, 128, 128, 3), 99),
    }
    totals = described.totals()
    assert totals["total"] == totals["trainable"] == 31_196_399
    # Counted by running the released code.
    assert round(totals["macs"] / 1e9, 2) == 477.37
    assert_published(described, "configs/networks.py:unet_authors", but=("auxiliary4",))


def test_recomputing_changes_no_value_and_no_gradient():
    plain, again = (build({**NNUNET, **TINY, "remat": remat}) for remat in ("none", "stage"))
    params = plain.first_values()["params"]
    image = jax.random.normal(jax.random.key(0), (1, 2, 4, 4, 1))

    def loss(model):
        return lambda params: jnp.sum(jnp.sin(model.apply({"params": params}, image, train=True).logits))

    got, expected = (jax.jit(jax.value_and_grad(loss(model)))(params) for model in (again, plain))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_convs": (1,)}, "1 values for 2 widths"),
        ({"decoder_convs": (1, 1)}, "2 values for 2 widths"),
        ({"auxiliary_outputs": 1}, "at most 0"),
    ],
)
def test_fields_that_make_no_network_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        build({**NNUNET, **TINY, **changes})


def test_values_are_those_of_nnu_nets_network():
    authors.assert_equal_to_authors("unet", train=True)


def test_first_values_are_nnu_nets():
    """He et al.'s, with PyTorch's idea of a transposed convolution's fan-in: its outputs, 8 x 4 of them."""
    params = build({**NNUNET, **TINY, "widths": (4, 64)}).first_values()["params"]
    up, conv = params["up0"]["up"]["kernel"], params["encoder1"]["conv1"]["kernel"]
    for kernel, fan in ((up, 8 * 4), (conv, 27 * 4)):
        expected = np.sqrt(2 / 1.0001 / fan)
        np.testing.assert_allclose(kernel.std(), expected, rtol=5 / np.sqrt(2 * kernel.size))
