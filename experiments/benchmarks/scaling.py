"""What to expect of training on 1, 8 and 64 GPUs: computed, never measured; needs no GPU.

python -m experiments.benchmarks.scaling [--config=configs/ds_dense_unet_569.py:ds] [--step_ms=20 --patches=4]

Prints the tables of docs/how-to/scale.md, or one for your own step time. --count=FILE first compiles the
training step for all local devices, or for eight GPUs that --target describes, and counts its all-reduces.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.memory.description import describe
from dsdenseunet.runtime import cli, parallel
from dsdenseunet.training import provenance
from dsdenseunet.training.settings import check_config
from experiments.benchmarks.clusters import cluster_tables, collectives

_RESULTS = Path(__file__).resolve().parents[2] / "docs/results"
_CONFIG = config_flags.DEFINE_config_file("config", "configs/ds_dense_unet_569.py:ds", "A file of configs/.")
_STEP_MS = flags.DEFINE_float("step_ms", None, "Milliseconds of a step on one GPU.", 1e-3)
_PATCHES = flags.DEFINE_integer("patches", 1, "Patches of that step.", 1)
_COUNT = cli.output_file("count", None, "File to write the counted all-reduces to, as JSON.")
_TARGET = flags.DEFINE_string("target", None, "With --count: file with XLA's description of a GPU.")


def main(argv: Sequence[str]) -> None:
    """Counts where asked to, computes, prints."""
    del argv
    config = _CONFIG.value
    check_config(config)
    if _TARGET.value and not _COUNT.value:
        raise InputError("--target", found="no --count", expected="both", fix="add --count=FILE")
    if _COUNT.value:
        target = _TARGET.value and files.read_text(_TARGET.value)
        mesh = collectives.mesh_of_absent_gpus(target, 8) if target else parallel.data_mesh()
        counted = collectives.count(config, mesh)
        made_from = provenance.gather(config.to_dict(), "none: nothing is run")
        files.write_json(_COUNT.value, {**counted, "provenance": made_from})
    network = describe(config.model, config.data.patch_size)
    counted = files.read_json(_COUNT.value or _RESULTS / "collectives_gpu.json")
    steps = cluster_tables.scenarios(network, counted, cluster_tables.read_measured(_RESULTS))
    if _STEP_MS.value is not None:
        steps = [cluster_tables.own_step(network, counted, _STEP_MS.value / 1e3, _PATCHES.value)]
    print(cluster_tables.markdown(network, counted, steps))


if __name__ == "__main__":
    cli.run(main)
