"""Trains a run or a cascade, or one for each fold and seed, or continues where the command was stopped.

python -m experiments.train --config=configs/ds_dense_unet_569.py:ds --workdir=DIR [--config.field=value]
    [--fold=all|N] [--seeds=N] [--budget_hours=N] [--profile_steps=FIRST:LAST]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import jax
from absl import flags
from ml_collections import config_flags

from dsdenseunet.core import failures
from dsdenseunet.cross_validation import driver, room, runs
from dsdenseunet.preflight import check as preflight
from dsdenseunet.runtime import cli, parallel, supervision
from dsdenseunet.training import stages, tracing
from dsdenseunet.training.failure import NonFiniteLossError
from dsdenseunet.training.interruption import Interrupted

EXIT_NON_FINITE = 3

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/.")
_WORKDIR = cli.output_folder("workdir", None, "Folder of the run: checkpoints, logs, config.")
_FOLD = flags.DEFINE_string("fold", None, "Number of a fold, or all: each a run in WORKDIR/foldN.")
_SEEDS = flags.DEFINE_integer("seeds", None, "How many seeds, from config.seed on: runs in .../seedN.", 1)
_BUDGET_HOURS = flags.DEFINE_float("budget_hours", None, "Hours for all runs; schedules follow the clock.", 0)
_OUT_OF_FOLD = flags.DEFINE_boolean("out_of_fold", None, "Score held-out cases (default: with --fold=all).")
_PROBABILITIES = flags.DEFINE_boolean(
    "save_probabilities", True, "Keep class probabilities of held-out cases."
)
_EXTEND_TO = flags.DEFINE_integer("extend_to", None, "Epochs of the last phase; continues a finished run.")
_PROFILE_STEPS = flags.DEFINE_string("profile_steps", None, "Steps of each phase to trace: FIRST:LAST.")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "Many hosts: HOST:PORT of process 0, or auto.")
_PROCESSES = flags.DEFINE_integer("processes", None, "Many hosts: how many processes.")
_PROCESS = flags.DEFINE_integer("process", None, "Many hosts: the number of this one, from 0.")
_PREFLIGHT = flags.DEFINE_boolean("preflight", True, "On a GPU: check it first (experiments.preflight).")
flags.mark_flags_as_required(["config", "workdir"])


def main(argv: Sequence[str]) -> int:
    """Exit status: see docs/how-to/train.md."""
    del argv
    if _COORDINATOR.value is not None and not supervision.in_child():
        return supervision.supervise()
    parallel.join_processes(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    tracing.set_steps(_CONFIG.value, _PROFILE_STEPS.value)
    workdir, fold = _WORKDIR.value or "", _FOLD.value
    asked = runs.of_command(_CONFIG.value, workdir, fold, _SEEDS.value, _BUDGET_HOURS.value)
    if _PREFLIGHT.value:
        for config in stages.configs(_CONFIG.value).values():
            preflight.require(config, training=True, otherwise="choose the other config.model.dtype")
    scored = None
    try:
        scores = _OUT_OF_FOLD.value or (_OUT_OF_FOLD.value is None and fold == runs.ALL)
        note = room.in_words(asked, workdir) if scores and _PROBABILITIES.value else ""
        driver.train(asked, _EXTEND_TO.value, note)
        if scores:
            scored = driver.evaluate(asked, workdir, save_probabilities=_PROBABILITIES.value)
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        return interrupted.exit_status
    except NonFiniteLossError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_NON_FINITE
    except jax.errors.JaxRuntimeError as error:
        if not parallel.is_lost_process(error):
            raise
        supervision.leave_for_lost_process(error)
    return failures.EXIT_STATUS if scored and scored["failures"] else 0


if __name__ == "__main__":
    cli.run(main)
