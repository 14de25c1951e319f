"""Memory of a prediction: about one scan on the host, on the device nothing that grows with the slices."""

import json
import subprocess
import sys

import numpy as np
import pytest

from dsdenseunet.data import nifti

SCRIPT = """
import json, resource, sys
from pathlib import Path
import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from dsdenseunet.data import nifti
from dsdenseunet.inference.folder import predict_folder
from dsdenseunet.inference.predict import Predictor
from dsdenseunet.inference.scans import find_scans

class Threshold(nn.Module):
    @nn.compact
    def __call__(self, image_BDHWC, train):
        value = image_BDHWC[..., 0]
        return jnp.stack([jnp.zeros_like(value), value, 2 * value - 1], axis=-1)

folder = Path(sys.argv[1])
predictor = Predictor(Threshold(), {}, (12, 224, 224), (-200.0, 250.0), overlap=0.25)
outcome = predict_folder([predictor], find_scans(folder / "scans"), folder / "out", report=lambda line: None)
assert not outcome.failures, outcome.failures
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"peak_gib": peak, "seconds": outcome.seconds, "wall": outcome.wall_seconds}))
"""


@pytest.mark.long
def test_a_scan_of_1000_slices_within_4_gb(tmp_path):
    """Two such scans, so that one is read while the other is segmented."""
    slices = np.random.default_rng(0).integers(-1000, 1000, (10, 512, 512)).astype(np.int16)
    scan = np.concatenate([slices] * 100)
    for number in range(2):
        nifti.write_new(tmp_path / "scans" / f"volume-{number}.nii", scan, (0.8, 0.7, 0.7), "LPS")
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    measured = json.loads(result.stdout)
    print(measured)
    assert measured["peak_gib"] < 4e9 / 2**30
