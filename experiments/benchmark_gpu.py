"""Measures an NVIDIA GPU, beside PyTorch where that is installed; continues where it was stopped.

python -m experiments.benchmark_gpu --out=DIR [--parts=rates,equality,...] [--minutes=10]

Each part runs in a process of its own with its own time limit, and every result is in DIR/results.jsonl the
moment it is known; DIR/benchmark_gpu.json is the record of them. The first round of all parts takes about ten
minutes on an H100; what time is left measures the rest. --rehearse tries all of it on a CPU in minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from dsdenseunet.core.errors import InputError
from dsdenseunet.runtime import cli
from dsdenseunet.training.settings import check_config
from experiments.benchmarks.gpu import rehearsal
from experiments.benchmarks.gpu.parts import PARTS
from experiments.benchmarks.gpu.rounds import run
from experiments.benchmarks.gpu.setting import Amounts

_CONFIG = config_flags.DEFINE_config_file(
    "config", "configs/ds_dense_unet_569.py:ds", "A file of configs/; both variants are measured."
)
_PARTS = flags.DEFINE_list("parts", list(PARTS), f"Which to measure, of {','.join(PARTS)}.")
_OUT = cli.output_folder(
    "out", None, "Folder for the results; parts that are done there are passed over.", required=True
)
_MINUTES = flags.DEFINE_float("minutes", 10.0, "For everything; what no time is left for is left out.", 0.1)
_REHEARSE = flags.DEFINE_boolean("rehearse", False, "A tiny network and tiny amounts, to try the program.")


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    del argv
    unknown = sorted(set(_PARTS.value) - set(PARTS))
    if unknown:
        found, expected = ",".join(unknown), f"some of {','.join(PARTS)}"
        raise InputError("--parts", found=found, expected=expected, fix="name known parts")
    check_config(_CONFIG.value)
    config, amounts = _CONFIG.value.to_dict(), Amounts()
    if _REHEARSE.value:
        config, amounts = rehearsal.small(config), rehearsal.AMOUNTS
    run(config, _PARTS.value, Path(_OUT.value), 60 * _MINUTES.value, amounts)


if __name__ == "__main__":
    cli.run(main)
