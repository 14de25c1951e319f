"""Trains all phases of a run, or continues where the same command was stopped.

python -m experiments.train --config=configs/ds_dense_unet_569.py:ds --workdir=DIR [--config.field=value]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import jax
from absl import flags
from ml_collections import config_flags

from dsdenseunet.preflight import check as preflight
from dsdenseunet.runtime import cli, parallel, supervision
from dsdenseunet.training import cascade
from dsdenseunet.training.failure import NonFiniteLossError
from dsdenseunet.training.interruption import Interrupted
from dsdenseunet.training.settings import check_config

EXIT_NON_FINITE = 3

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/.")
_WORKDIR = cli.output_folder("workdir", None, "Folder of the run: checkpoints, logs, config.")
_EXTEND_TO = flags.DEFINE_integer("extend_to", None, "Epochs of the last phase; continues a finished run.")
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
    if _PREFLIGHT.value:
        check_config(_CONFIG.value)
        otherwise = "choose the other config.model.dtype"
        preflight.require(_CONFIG.value, training=True, otherwise=otherwise)
    try:
        cascade.run(_CONFIG.value, _WORKDIR.value or "", extend_to=_EXTEND_TO.value)
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
    return 0


if __name__ == "__main__":
    cli.run(main)
