"""nnU-Net's own count, stages and first values of the residual encoder, and a value of its network."""

import numpy as np
import pytest

from configs.networks import VARIANTS
from dsdenseunet.core.errors import InputError
from dsdenseunet.memory.description import describe
from dsdenseunet.models.registry import build
from tests.models import authors
from tests.published_networks import assert_published

FULL = {**VARIANTS["residual_unet"].model, "auxiliary_outputs": 4}
TINY = {**FULL, "widths": (2, 3), "encoder_blocks": (1, 3), "decoder_convs": (1,), "auxiliary_outputs": 0}


def test_parameters_are_those_of_nnu_nets_presets():
    """Of each stage as the released code has them; multiply-adds too."""
    described = describe(FULL, (128, 128, 128))
    stages = {stage.name: (stage.shape, stage.trainable) for stage in described.stages}
    assert stages == {
        "stem": ((128, 128, 128, 32), 960),
        "encoder0": ((128, 128, 128, 32), 55_488),
        "encoder1": ((64, 64, 64, 64), 611_584),
        "encoder2": ((32, 32, 32, 128), 3_329_280),
        "encoder3": ((16, 16, 16, 256), 20_391_424),
        "encoder4": ((8, 8, 8, 320), 32_718_720),
        "encoder5": ((4, 4, 4, 320), 33_189_120),
        "up4": ((8, 8, 8, 320), 819_520 + 5_530_560),
        "up3": ((16, 16, 16, 256), 655_616 + 3_539_712),
        "up2": ((32, 32, 32, 128), 262_272 + 885_120),
        "up1": ((64, 64, 64, 64), 65_600 + 221_376),
        "up0": ((128, 128, 128, 32), 16_416 + 55_392),
        "auxiliary1": ((64, 64, 64, 3), 195),
        "auxiliary2": ((32, 32, 32, 3), 387),
        "auxiliary3": ((16, 16, 16, 3), 771),
        "auxiliary4": ((8, 8, 8, 3), 963),
        "head": ((128, 128, 128, 3), 99),
    }
    totals = described.totals()
    assert totals["total"] == totals["trainable"] == 102_350_575
    assert_published(described, "configs/networks.py:residual_unet_m_authors", but=("auxiliary4",))
    macs = {stage.name: round(stage.macs / 1e9, 3) for stage in described.stages}
    assert macs["encoder1"] == 159.988
    assert macs["encoder5"] == 2.123
    assert round(totals["macs"] / 1e9, 2) == 717.54


def test_values_are_those_of_nnu_nets_network():
    """Three stages, one of them without a change of channels, and all outputs."""
    authors.assert_equal_to_authors("residual_unet", train=True)


def test_at_first_a_block_hands_on_what_it_got():
    params = build(TINY).first_values()["params"]["encoder1"]
    np.testing.assert_array_equal(params["first"]["norm2"]["scale"], np.zeros(3))
    np.testing.assert_array_equal(params["rest"]["norm2"]["scale"], np.zeros((2, 3)))
    np.testing.assert_array_equal(params["rest"]["norm1"]["scale"], np.ones((2, 3)))


def test_a_number_of_blocks_for_each_stage_is_asked_for():
    with pytest.raises(InputError, match="1 values for 2 widths"):
        build({**TINY, "encoder_blocks": (1,)})
