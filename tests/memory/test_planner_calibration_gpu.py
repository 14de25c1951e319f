"""The planner's predictions against the card that is here: many minutes."""

import os

import pytest

from configs.ds_dense_unet_569 import get_config
from dsdenseunet.core import files
from dsdenseunet.memory.cards import card_of_kind
from dsdenseunet.memory.planner.calibration import calibrate, settings_to_measure
from dsdenseunet.memory.planner.compiler import Compiler, has_gpu_compiler
from dsdenseunet.models import registry


@pytest.mark.gpu
@pytest.mark.long
@pytest.mark.skipif(not has_gpu_compiler(), reason="without JAX's CUDA plugin (extras cuda12, cuda13)")
def test_predictions_hold_on_the_card(tmp_path):
    """Writes calibration.json to $CALIBRATION_OUT, if given."""
    import subprocess
    import sys

    kind = subprocess.run(
        [sys.executable, "-c", "import jax; print(jax.devices('cuda')[0].device_kind)"],
        **{
            "env": {**os.environ, "JAX_PLATFORMS": "cuda"},
            "capture_output": True,
            "text": True,
            "check": True,
        },
    ).stdout.strip()
    here = card_of_kind(kind)
    assert here is not None, f"no figures of {kind} in dsdenseunet/memory/gpus"
    config = get_config("ds")
    settings = settings_to_measure(registry.build(config.model), [(12, 224, 224)])
    found = calibrate(config, here, Compiler(here, print), settings, 8 * 10**9, print)
    files.write_json(os.environ.get("CALIBRATION_OUT", tmp_path / "calibration.json"), found)
    assert found["enough"] and found["within_10_percent"] and found["wrongly_said_to_fit"] == 0
