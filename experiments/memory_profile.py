"""Shows which arrays are alive at the peak of a training step, by stage of the network and by kind.

python -m experiments.memory_profile --config=configs/ds_dense_unet_569.py:ds --device=rtx3070 --out=memory

Compiles the step of one config, as it is, with XLA's compiler for the named card, which need not be there
(extra cuda12), or for this machine's processor (--device=cpu), and reads what the compiler has decided.
Nothing is run. `--out` gets memory.json and the picture, memory.png and memory.pdf.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from dsdenseunet.core import files
from dsdenseunet.memory.alive import text
from dsdenseunet.memory.alive.profile import PROCESSOR, profile
from dsdenseunet.memory.cards import cards
from dsdenseunet.memory.planner.planning import touch_no_card
from dsdenseunet.reporting.memory_profile import draw
from dsdenseunet.runtime import cli

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/.")
_DEVICE = flags.DEFINE_string("device", PROCESSOR, f"{PROCESSOR}, or a card: {', '.join(cards())}.")
_OUT = cli.output_folder("out", None, "Folder for memory.json, memory.png and memory.pdf.")
_TOP = flags.DEFINE_integer("top", 10, "How many of the largest arrays are printed.", 1)
_TIMEOUT = flags.DEFINE_float("timeout_s", 1800.0, "Seconds after which the compilation has failed.", 1.0)
flags.mark_flags_as_required(["config"])


def main(argv: Sequence[str]) -> None:
    """Prints the tables."""
    del argv
    touch_no_card()
    found = profile(_CONFIG.value, _DEVICE.value, _TIMEOUT.value, print)
    print(f"\n{text.table(found)}\n\n{text.largest(found, _TOP.value)}\n\n{text.summary(found)}")
    if _OUT.value:
        out = Path(_OUT.value)
        files.write_json(out / "memory.json", found)
        for kind in ("png", "pdf"):
            draw(found, out / f"memory.{kind}")


if __name__ == "__main__":
    cli.run(main)
