"""Measures MedNeXt S beside PyTorch on CPUs, in one run; needs the extra `bench`; takes half an hour.

python -m experiments.benchmarks.mednext [--parts=rates,inference,step,depthwise] [--out=FILE]

Inference and training step beside the same network and beside nnU-Net's plain U-Net, and depthwise
convolutions by themselves, each with its floor. By default one patch of 64^3 on one core, as more takes long:
--shapes=1x64x64x64,2x64x64x64,1x128x128x128 --cores=1,2 (128^3 needs 64 GiB).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from dsdenseunet.runtime import cli
from experiments.benchmarks.on_cpu import command

_PARTS = ("rates", "inference", "step", "depthwise")
PARTS = flags.DEFINE_list("parts", list(_PARTS), f"Which to measure, of {','.join(_PARTS)}.")
_KERNELS = flags.DEFINE_list("kernels", ["3", "5"], "Sides of the depthwise kernels, of 3,5.")
_SHAPES = flags.DEFINE_list("shapes", ["1x64x64x64"], "Inputs of the networks, batch and sides.")
_CORES = flags.DEFINE_list("cores", ["1"], "How many cores; each number is measured.")
ROUNDS = flags.DEFINE_integer("rounds", 3, "How often the sides take turns at training steps.", 1)
OUT = cli.output_file("out", None, "File to write everything that was measured to, as JSON.")


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    del argv
    command.check(PARTS.value, _PARTS)
    from experiments.benchmarks.on_cpu import cores, mednext_parts, mednext_setting

    most = len(cores.available())
    with tempfile.TemporaryDirectory() as folder:
        setting = mednext_setting.Setting(
            kernels=mednext_setting.numbers("--kernels", _KERNELS.value, (3, 5)),
            shapes=mednext_setting.shapes("--shapes", _SHAPES.value),
            cores=mednext_setting.numbers("--cores", _CORES.value, range(1, most + 1)),
            rounds=ROUNDS.value,
            folder=Path(folder),
            say=lambda line: print(line, flush=True),
        )
        mednext_parts.run(setting, PARTS.value, command.keeper(OUT.value))


if __name__ == "__main__":
    cli.run(main)
