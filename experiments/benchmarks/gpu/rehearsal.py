"""The same program with a tiny network and tiny amounts, to be tried on a CPU.

Kernels for GPUs are interpreted there, which takes long: one is compared, whole steps do without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.benchmarks.gpu.setting import Amounts

AMOUNTS = Amounts(
    matrix=32,
    copied_gib=0.001,
    repeats=2,
    batches=(1,),
    dtypes=("float32",),
    typical_batch=1,
    volume=(6, 70, 64),
    volume_batches=(2,),
    block_steps=2,
    blocks=2,
    phantoms=(32, 64, 64),
    remats=("none",),
    planned_batches=(1,),
    shapes=1,
    forms=("shifted", "grouped"),
    step_forms=("shifted",),
    small_model=(),
    small_patch=(4, 32, 32),
    flag_sets=1,
    rounds=1,
    compilers=1,
    patience=10.0,
)


def small(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the smallest network: its steps compile in seconds."""
    tiny = {"block_layers": (1,), "growth_rate": 4, "bottleneck": 8, "stem_channels": 8}
    phases = {name: {**config["phases"][name], "epochs": 1} for name in config["phases"]["order"]}
    return {
        **config,
        "model": {**config["model"], **tiny, "decoder_channels": (8, 8)},
        "data": {**config["data"], "patch_size": (4, 32, 32), "batch_size": 1},
        "training": {**config["training"], "steps_per_epoch": 2},
        "phases": {**config["phases"], **phases},
    }
