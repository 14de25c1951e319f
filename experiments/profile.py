"""Traces training steps and prints where their time goes, beside the least time that the device needs.

python -m experiments.profile --config=configs/demo.py --out=profile [--steps=5] [--config.field=value]

Stages of the network, the operations that take longest and those that move most memory, and how long the
device waits for the host. Batches come from `config.data.cache`. `--out` gets profile.json and the trace, for
XProf or TensorBoard's profile plug-in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from dsdenseunet.core import files
from dsdenseunet.profiling.step import profile
from dsdenseunet.runtime import cli

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/.")
_OUT = cli.output_folder("out", None, "Folder for the trace and profile.json.", required=True)
_STEPS = flags.DEFINE_integer("steps", 5, "How many steps are traced.", lower_bound=1)
_TOP = flags.DEFINE_integer("top", 15, "How many operations are printed.", lower_bound=1)
flags.mark_flags_as_required(["config"])


def main(argv: Sequence[str]) -> None:
    """Prints the tables."""
    del argv
    config, out = _CONFIG.value, Path(_OUT.value)
    found = profile(config, out, _STEPS.value)
    files.write_json(out / "profile.json", found.as_json())
    print(f"{config.name}\n{found.text(_TOP.value)}")


if __name__ == "__main__":
    cli.run(main)
