"""Memory of a prediction: about one scan on the host, on the device nothing that grows with the slices."""

import json
import subprocess
import sys

import numpy as np
import pytest

from dsdenseunet.data.scans import nifti

SCRIPT = """
import json, resource, sys
from pathlib import Path
import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from dsdenseunet.data.scans import nifti
from dsdenseunet.inference.folder import predict_folder
from dsdenseunet.inference.predict import Predictor
from dsdenseunet.tasks.lits import TASK
from dsdenseunet.inference.scans import find_scans
from dsdenseunet.models.network import Outputs

class Threshold(nn.Module):
    @nn.compact
    def __call__(self, image_BDHWC, train):
        value = image_BDHWC[..., 0]
        return Outputs(jnp.stack([jnp.zeros_like(value), value, 2 * value - 1], axis=-1))

folder, side, first = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
predictor = Predictor(Threshold(), {}, (12, side, side), TASK, overlap=0.25)
scans = find_scans(folder / "scans").used
peaks = []
for part in (scans[:first], scans):
    outcome = predict_folder([predictor], part, folder / "out", report=lambda line: None)
    assert not outcome.failures, outcome.failures
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
print(json.dumps({"peak_gib": peaks, "seconds": outcome.seconds, "wall": outcome.wall_seconds}))
"""


def peaks_gib(folder, side, first):
    """Most memory of a process that predicts the first scans of a folder, and then all of them."""
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(side), str(first)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    measured = json.loads(result.stdout)
    print(measured)
    return measured["peak_gib"]


@pytest.mark.long
def test_a_scan_of_1000_slices_within_4_gb(tmp_path):
    """Two such scans, so that one is read while the other is segmented."""
    slices = np.random.default_rng(0).integers(-1000, 1000, (10, 512, 512)).astype(np.int16)
    scan = np.concatenate([slices] * 100)
    for number in range(2):
        nifti.write_new(tmp_path / "scans" / f"volume-{number}.nii", scan, (0.8, 0.7, 0.7), "LPS")
    assert max(peaks_gib(tmp_path, 224, 2)) < 4e9 / 2**30


@pytest.mark.long
def test_hundreds_of_scans_take_the_memory_of_a_few(tmp_path):
    """300 scans of 0.6 MB and their labels: if they stayed, the second peak would be 0.25 GB higher."""
    rng = np.random.default_rng(0)
    for number in range(300):
        scan = rng.integers(-1000, 1000, (32, 96, 96)).astype(np.int16)
        nifti.write_new(tmp_path / "scans" / f"volume-{number}.nii", scan, (0.8, 0.7, 0.7), "LPS")
    few, all_of_them = peaks_gib(tmp_path, 96, 20)
    assert all_of_them - few < 0.05
