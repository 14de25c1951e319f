"""Races a config against other programs on folds of a Decathlon task: equal wall time, one core each.

python -m experiments.benchmarks.race --data=DIR --folds=FILE --workdir=DIR --out=FILE [--monai=PYTHON]

Everything counts: the start of Python, reading, compiling, training, predicting. The data are the task's
folder, the folds a JSON list of {"train": names, "val": names}, and each PYTHON that of an environment with
this peer. Finished heats stay in the workdir and are not run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from absl import flags

from dsdenseunet.core import files
from dsdenseunet.runtime import cli, environment
from experiments.benchmarks.peers import contenders, race
from experiments.benchmarks.publishing import race_tables

_DATA = flags.DEFINE_string("data", None, "Folder of a Decathlon task.", required=True)
_FOLDS = flags.DEFINE_string("folds", None, "JSON file of the folds.", required=True)
_FOLD = flags.DEFINE_multi_integer("fold", [0], "Number of a fold; may be given again.", 0)
_CONFIGS = flags.DEFINE_list("configs", ["configs/decathlon.py:Task04_Hippocampus"], "Of ours.")
_MONAI = flags.DEFINE_string("monai", None, "Python with torch, monai, nibabel; without it MONAI stays away.")
_NNUNET = flags.DEFINE_string("nnunet", None, "Python with torch and nnunetv2; likewise.")
_MINUTES = flags.DEFINE_multi_float("minutes", [2, 5, 15], "Wall time of a heat; may be given again.", 1)
_SEEDS = flags.DEFINE_multi_integer("seed", [0], "Seed of a heat; may be given again.", 0)
_CORE = flags.DEFINE_integer("core", 0, "Processor core that all of them run on.", 0)
_PREDICT_S = flags.DEFINE_float("predict_s", 20.0, "Seconds that ours leave for predicting.", 0)
_WORKDIR = cli.output_folder(
    "workdir", None, "Folder for everything that the contenders write.", required=True
)
_OUT = cli.output_file("out", None, "File for the results, as JSON.", required=True)
_VERSIONS = ("jax", "jaxlib", "flax", "optax", "grain", "numpy")


def main(argv: Sequence[str]) -> None:
    """Runs what is not done, prints every result, and writes all of them."""
    del argv
    folds = {number: contenders.fold(_FOLDS.value, number) for number in _FOLD.value}
    teams = [contenders.ours(config, _PREDICT_S.value) for config in _CONFIGS.value]
    versions = {
        **contenders.peer_versions("--monai", _MONAI.value, "monai"),
        **contenders.peer_versions("--nnunet", _NNUNET.value, "nnunetv2"),
    }
    if _MONAI.value:
        teams.append(contenders.monai(_MONAI.value))
    if _NNUNET.value:
        teams.append(contenders.nnunet(_NNUNET.value))
    plan = race.Plan(
        Path(_DATA.value),
        folds,
        _MINUTES.value,
        _SEEDS.value,
        _CORE.value,
        Path(_WORKDIR.value),
    )
    started = datetime.now(UTC).isoformat(timespec="seconds")
    results = race.run(plan, teams, lambda line: print(line, flush=True))
    record = {
        "data": Path(_DATA.value).name,
        "results": results,
        "scored": race.scored(results),
        "compared": race.compared(results, teams[0].name),
        "peer_versions": versions,
        "provenance": {"started": started, **environment.describe(_VERSIONS)},
    }
    files.write_json(_OUT.value, record)
    print(race_tables.markdown(record))


if __name__ == "__main__":
    cli.run(main)
