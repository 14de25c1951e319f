"""Measures ours beside PyTorch and XLA's own forms, in one run; needs the extra `bench`; takes half an hour.

python -m experiments.benchmarks.cpu [--parts=depthwise,conv,step,inference,pipeline,compile] [--out=FILE]

Outputs are checked to be equal first. Each side runs in a process of its own, and the sides take turns;
a ratio is of two neighbours, given as median (lowest-highest). --config.FIELD=VALUE makes it smaller.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from dsdenseunet.runtime import cli
from dsdenseunet.training.settings import check_config
from experiments.benchmarks.on_cpu import command

_PARTS = ("depthwise", "conv", "step", "inference", "pipeline", "compile")
_CONFIG = config_flags.DEFINE_config_file(
    "config", "configs/ds_dense_unet_569.py:ds", "A file of configs/; both variants are measured."
)
PARTS = flags.DEFINE_list("parts", list(_PARTS), f"Which to measure, of {','.join(_PARTS)}.")
OUT = cli.output_file("out", None, "File to write everything that was measured to, as JSON.")
ROUNDS = flags.DEFINE_integer("rounds", 5, "How often the sides take turns at whole networks.", 1)


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    del argv
    command.check(PARTS.value, _PARTS)
    from experiments.benchmarks.on_cpu.all_parts import run

    check_config(_CONFIG.value)
    run(
        _CONFIG.value.to_dict(),
        PARTS.value,
        ROUNDS.value,
        lambda line: print(line, flush=True),
        command.keeper(OUT.value),
    )


if __name__ == "__main__":
    cli.run(main)
