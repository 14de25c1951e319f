"""Several devices share a folder's scans; on a CPU they are forced by an XLA flag."""

import os
import subprocess
import sys

import numpy as np

from dsdenseunet.data.scans import nifti
from tests.training import tiny

SCRIPT = """
import sys
from pathlib import Path
import flax.linen as nn
import jax
import jax.numpy as jnp
from dsdenseunet.inference.folder import predict_folder
from dsdenseunet.inference.predict import Predictor, class_probabilities
from dsdenseunet.tasks.lits import TASK
from dsdenseunet.inference.scans import find_scans
from dsdenseunet.models.network import Outputs

class Threshold(nn.Module):
    @nn.compact
    def __call__(self, image_BDHWC, train):
        value = image_BDHWC[..., 0] + self.param("shift", nn.initializers.zeros, ())
        return Outputs(20 * jnp.stack([jnp.zeros_like(value), value, 3 * value - 1], axis=-1))

model = Threshold()
variables = model.init(jax.random.key(0), jnp.zeros((1, 4, 8, 8, 1)), train=False)
predictor = Predictor(model, variables, (4, 8, 8), TASK)
lanes = [predictor.on(device) for device in jax.local_devices()]
folder = Path(sys.argv[1])
outcome = predict_folder(lanes, find_scans(folder / "scans").used, folder / "out", report=lambda line: None)
assert not outcome.failures, outcome.failures
print(len(lanes), len(outcome.done), class_probabilities._cache_size())
"""


def test_all_devices_of_a_machine_work_on_a_folder(tmp_path):
    rng = np.random.default_rng(0)
    scans = [rng.integers(-300, 300, (6, 10, 12)).astype(np.int16) for _ in range(12)]
    for number, scan in enumerate(scans):
        nifti.write_new(tmp_path / "scans" / f"volume-{number}.nii", scan, (2.0, 0.7, 0.7))
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            **tiny.devices(4),
        },
    )
    assert result.returncode == 0, result.stderr
    lanes, done, programs = map(int, result.stdout.split())
    assert (lanes, done) == (4, 12)
    # A program for each device that had a scan: the work was spread.
    assert programs > 1
    for number, scan in enumerate(scans):
        value = (np.clip(scan, -200, 250) - 25) / 225
        expected = np.where(value <= 0, 0, np.where(value < 0.5, 1, 2))
        found = nifti.read_labels(tmp_path / "out" / f"segmentation-{number}.nii.gz").array_DHW
        np.testing.assert_array_equal(found, expected)
