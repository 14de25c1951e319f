"""Checks that this GPU and its libraries compute a config's network correctly, and says what memory there is.

python -m experiments.preflight [--config=configs/ds_dense_unet_569.py:ds --config.field=value]

Driver, CUDA, cuDNN and card against each other; every convolution of the training step, gradients included,
against the definition; the bytes that JAX may use. `train` and `predict` do the same when they start on a
GPU. Exit status 1: the run would fail or compute wrong values.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
from ml_collections import config_flags

from dsdenseunet.core.errors import InputError
from dsdenseunet.preflight import check, versions
from dsdenseunet.runtime import cli
from dsdenseunet.training.settings import check_config

_CONFIG = config_flags.DEFINE_config_file("config", "configs/ds_dense_unet_569.py:ds", "A file of configs/.")


def main(argv: Sequence[str]) -> int:
    """Prints the verdict."""
    del argv
    check_config(_CONFIG.value)
    if not versions.on_cuda():
        raise InputError(
            "this machine",
            found=f"JAX computes on {jax.default_backend()}",
            expected="an NVIDIA GPU that JAX can use",
            fix="nvidia-smi must list the card; install the extra cuda12 or cuda13; unset JAX_PLATFORMS",
        )
    verdict = check.run(_CONFIG.value, training=True)
    print(verdict.text())
    return 0 if verdict.passed else 1


if __name__ == "__main__":
    cli.run(main)
