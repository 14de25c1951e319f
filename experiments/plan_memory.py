"""Finds which patch, batch, remat and precision fit a card, and what each costs, without using a card.

python -m experiments.plan_memory --config=configs/ds_dense_unet_569.py:ds --budget_gib=8 --device=rtx3070

Compiles the real programs with XLA's compiler for the named card, which need not be there (extra cuda12);
without that extra, for this machine's processor, and says that the figures are an estimate. Takes minutes a
program, remembers each, and continues where it was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from dsdenseunet.memory.cards import cards
from dsdenseunet.memory.planner.planning import run, touch_no_card
from dsdenseunet.reporting.memory_plan import draw
from dsdenseunet.runtime import cli

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/.")
_DEVICE = flags.DEFINE_string("device", "rtx3070", f"The card: {', '.join(cards())}, or its driver's name.")
_BUDGET = flags.DEFINE_float("budget_gib", None, "GiB of the card to use (default: all of it).", 0.1)
_OUT = cli.output_folder("out", None, "Folder for plan.json and plan.png.")
_PATCHES = flags.DEFINE_list("patches", [], "Patches as DxHxW (default: the config's and two smaller ones).")
_REMATS = flags.DEFINE_list("remats", [], "Which to try of those that the network has (default: all).")
_DTYPES = flags.DEFINE_list(
    "dtypes", [], "Which to try of float32, bfloat16 (default: all that the network has)."
)
_MAX_BATCH = flags.DEFINE_integer("max_batch", 32, "Most patches at once.", 1)
_TIMEOUT = flags.DEFINE_float("timeout_s", 900.0, "Seconds after which a compilation has failed.", 1.0)
_CALIBRATION = flags.DEFINE_string("calibration", None, "File of a calibration on the card.")
_COMPARE = flags.DEFINE_boolean("compare", True, "Also separable beside standard, and accumulation.")
flags.mark_flags_as_required(["config"])


def main(argv: Sequence[str]) -> int:
    """Exit status 1: nothing fits."""
    del argv
    touch_no_card()
    plan = run(
        _CONFIG.value,
        device=_DEVICE.value,
        budget_gib=_BUDGET.value,
        patches=_PATCHES.value,
        remats=_REMATS.value,
        dtypes=_DTYPES.value,
        max_batch=_MAX_BATCH.value,
        timeout_s=_TIMEOUT.value,
        calibration=_CALIBRATION.value,
        out=_OUT.value,
        compare=_COMPARE.value,
    )
    if _OUT.value:
        draw(plan, Path(_OUT.value) / "plan.png")
    return 0 if plan["recommended"] else 1


if __name__ == "__main__":
    cli.run(main)
