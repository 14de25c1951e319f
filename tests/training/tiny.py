"""The smallest config, network, cache and run that go through every line of training.

As a script it is `experiments.train` with `TinyNet` in the place of the configured network, which
compiles in a second: `python tests/training/tiny.py --config=tests/training/tiny.py --workdir=DIR ...`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from configs.base import base_config  # noqa: E402
from dsdenseunet.models import initialise, registry  # noqa: E402
from dsdenseunet.models.dense_unet import DenseUNet3D  # noqa: E402
from dsdenseunet.models.network import Network, Outputs  # noqa: E402


class TinyNet(Network):
    """Batch statistics and dropout, so that a resume that loses either or the key shows."""

    stride: ClassVar[tuple[int, int, int]] = (1, 1, 1)
    in_channels: int = 1
    num_classes: int = 3
    dropout_rate: float = 0.1
    frozen_statistics: bool = False
    auxiliary_outputs: int = 0

    remats: ClassVar = DenseUNet3D.remats
    dtypes: ClassVar = DenseUNet3D.dtypes

    @nn.compact
    def __call__(self, image_BDHWC: jax.Array, train: bool) -> Outputs:
        x = nn.Conv(4, (1, 3, 3))(image_BDHWC)
        running = self.frozen_statistics or not train
        x = nn.relu(nn.BatchNorm(use_running_average=running, momentum=0.9)(x))
        x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
        auxiliary: list[jax.Array] = []
        if train or self.is_initializing():
            coarse = [x[:, :, :: 2**level, :: 2**level] for level in range(1, 1 + self.auxiliary_outputs)]
            auxiliary = [nn.Conv(3, (1, 1, 1))(x) for x in coarse]
        return Outputs(nn.Conv(3, (1, 1, 1))(x), tuple(auxiliary))

    @nn.nowrap
    def first_values(self, seed: int = 0) -> dict[str, Any]:
        return initialise.drawn(self, seed, initialise.he_normal)


def build_tiny(model_config: Mapping[str, Any]) -> Network:
    """In the place of `registry.build`."""
    return TinyNet(auxiliary_outputs=model_config["auxiliary_outputs"])


def get_config() -> ConfigDict:
    """Two phases of two epochs of two steps."""
    config = base_config()
    config.name = "tiny"
    config.model.block_layers = (1, 1, 1, 1)
    config.model.growth_rate = 4
    config.model.bottleneck = 4
    config.model.stem_channels = 4
    config.model.decoder_channels = (4, 4, 4, 4, 4)
    config.optimizer.learning_rate = 0.1
    config.data.patch_size = (4, 32, 32)
    config.data.batch_size = 2
    config.data.explicit.train = ("volume-0", "volume-1")
    config.data.explicit.validation = ("volume-2",)
    config.data.prefetch = 1
    config.training.steps_per_epoch = 2
    config.phases.phase1.epochs = config.phases.phase2.epochs = 2
    config.training.validate_epochs = 1
    config.training.validate_patches = 4
    config.training.checkpoint_epochs = 1
    return config


def make_cache(folder: Path) -> Path:
    """Three phantoms of 32^3 voxels, prepared."""
    from dsdenseunet.data import preparation
    from dsdenseunet.data.samples import phantom
    from dsdenseunet.data.scans import layouts

    phantom.write_phantoms(folder / "data", cases=3, seed=0, size=(32, 32, 32))
    preparation.prepare(layouts.find_cases(folder / "data").used, folder / "cache")
    return folder / "cache"


def command(cache: Path, workdir: Path, *arguments: str) -> list[str]:
    """Command line of one start with `TinyNet`."""
    return [
        sys.executable,
        __file__,
        f"--config={__file__}",
        f"--workdir={workdir}",
        f"--config.data.cache={cache}",
        *arguments,
    ]


def devices(count: int) -> dict[str, str]:
    """Environment of a process that has so many CPU devices."""
    flag = f"--xla_force_host_platform_device_count={count}"
    return {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flag}"}


def start(line: list[str], **environment: str) -> subprocess.Popen[str]:
    """Starts it, stdout and stderr in one pipe."""
    return subprocess.Popen(
        line,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(line: list[str], expect: int = 0, **environment: str) -> str:
    """Runs it to its end; returns what it printed."""
    process = start(line, **environment)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == expect, output
    return output


def final_arrays(workdir: Path, phase: str = "phase2") -> dict[str, np.ndarray]:
    """Every array of a phase's newest whole state, by path."""
    import orbax.checkpoint as ocp

    folder = workdir / phase / "latest"
    step = max(ocp.utils.checkpoint_steps(folder))
    with ocp.PyTreeCheckpointer() as checkpointer:
        structure = checkpointer.metadata(folder / str(step) / "state").item_metadata
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), structure.tree)
        state = checkpointer.restore(folder / str(step) / "state", restore_args=as_numpy)
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def kill_at(point: str) -> None:
    """Arranges for this process to be killed at the n-th time of an event: "batch:3", "save:1", ...

    batch: a batch has been read, its way to the device not begun. save, best: a whole checkpoint, or the best
    weights, are being written. rename: one of their folders is about to get its final name.
    phase: a phase has ended.
    """
    from dsdenseunet.runtime import parallel
    from dsdenseunet.training import cascade
    from dsdenseunet.training.checkpoint import Checkpoints

    event, _, number = point.partition(":")
    owner, name, before = {
        "batch": (parallel, "place_batch", True),
        "save": (Checkpoints, "save", False),
        "best": (Checkpoints, "save_best", False),
        "rename": (os, "rename", True),
        "phase": (cascade, "run_phase", False),
    }[event]
    original: Any = getattr(owner, name)
    seen = 0

    def count(counts: bool) -> None:
        nonlocal seen
        seen += counts
        if seen == int(number):
            os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        counts = event != "rename" or "orbax" in str(arguments[0])
        if before:
            count(counts)
        result = original(*arguments, **named)
        if not before:
            count(counts)
        return result

    setattr(owner, name, wrapped)


if __name__ == "__main__":
    from dsdenseunet.runtime import cli
    from experiments import train

    registry.build = build_tiny
    if "TINY_KILL_AT" in os.environ:
        kill_at(os.environ["TINY_KILL_AT"])
    cli.run(train.main)
