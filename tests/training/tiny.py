"""The smallest config, cache and run that go through every line of training."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ml_collections import ConfigDict

from configs.base import base_config
from dsdenseunet.data import lits, phantom, preparation

ROOT = Path(__file__).resolve().parents[2]


def get_config() -> ConfigDict:
    """Seconds a run on one core; also loaded by `--config=tests/training/tiny.py`."""
    config = base_config()
    config.name = "tiny"
    config.model.block_layers = (1, 1, 1, 1)
    config.model.growth_rate = 4
    config.model.bottleneck = 4
    config.model.stem_channels = 4
    config.model.decoder_channels = (4, 4, 4, 4, 4)
    config.data.patch_size = (4, 32, 32)
    config.data.batch_size = 2
    config.data.explicit.train = ("volume-0", "volume-1")
    config.data.explicit.validation = ("volume-2",)
    config.data.prefetch = 1
    config.training.steps_per_epoch = 2
    config.training.phase1_epochs = 2
    config.training.phase2_epochs = 2
    config.training.validate_epochs = 1
    config.training.checkpoint_epochs = 1
    return config


def make_cache(folder: Path) -> Path:
    """Three phantoms of 32^3 voxels, prepared."""
    phantom.write_phantoms(folder / "data", cases=3, seed=0, size=(32, 32, 32))
    preparation.prepare(lits.find_cases(folder / "data"), folder / "cache")
    return folder / "cache"


def train(cache: Path, workdir: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Starts `python -m experiments.train` with this config, output captured together."""
    command = [
        *(sys.executable, "-m", "experiments.train"),
        f"--config={Path(__file__)}",
        f"--workdir={workdir}",
        f"--config.data.cache={cache}",
        *arguments,
    ]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
