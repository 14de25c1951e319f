"""Trains and scores configs, each with an equal budget and on the same cases; other programs beside them.

python -m experiments.compare --configs=FILE,FILE --data=DIR --budget=300s --workdir=DIR --out=DIR
    [--seed=0 --seed=1 --fold=0 --fold=1 --folds=FILE]

A budget is wall time (`300s`: starting, reading, compiling, training, predicting), steps (`2000steps`), or
images (`64000images`: steps times patches a step). What is done stays in the workdir and is not run again;
what was stopped goes on. Writes comparison.json and comparison.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from absl import flags

from dsdenseunet.core import files
from dsdenseunet.reporting.comparison_page import write_comparison_page
from dsdenseunet.runtime import cli, environment
from dsdenseunet.tasks.task import Task
from experiments.benchmarks.peers import cases, contenders, entries, heats, standings
from experiments.benchmarks.peers.budget import Budget
from experiments.benchmarks.publishing import comparison_markdown

_CONFIGS = flags.DEFINE_string(
    "configs", None, "Files of configs/; the first is compared with.", required=True
)
_DATA = flags.DEFINE_string(
    "data", None, "Folder of a data set, as LiTS, the Decathlon or nnU-Net has it.", required=True
)
_BUDGET = flags.DEFINE_multi_string("budget", None, "Such as 300s, 2000steps, 64000images.", required=True)
_SEEDS = flags.DEFINE_multi_integer("seed", [0], "Seed of a heat; may be given again.", 0)
_FOLD = flags.DEFINE_multi_integer("fold", [0], "Number of a fold; may be given again.", 0)
_FOLDS = flags.DEFINE_string("folds", None, "JSON file of the folds; without it five are dealt.")
_MONAI = flags.DEFINE_string("monai", None, "Python with torch, monai, nibabel; without it MONAI stays away.")
_NNUNET = flags.DEFINE_string("nnunet", None, "Python with torch and nnunetv2; likewise.")
_CORE = flags.DEFINE_integer("core", None, "The one processor core that all run on (default: all).", 0)
_PREDICT_S = flags.DEFINE_float("predict_s", 20.0, "Seconds of wall time that ours leave to predict.", 0)
_WORKDIR = cli.output_folder("workdir", None, "Folder for everything that the runs write.", required=True)
_OUT = cli.output_folder("out", None, "Folder for the results.", required=True)
_VERSIONS = ("jax", "jaxlib", "flax", "optax", "grain", "numpy")


def main(argv: Sequence[str]) -> None:
    """Runs what is not done, prints every result and the table, and writes all of them."""
    del argv
    data, out = Path(_DATA.value), Path(_OUT.value)
    budgets = [Budget.parse(text) for text in _BUDGET.value]
    configs = entries.load_all(_CONFIGS.value, budgets, _PREDICT_S.value)
    task = Task.of(configs[0].config.task)
    known = cases.labelled(data, task)
    folds = cases.folds(tuple(known), _FOLDS.value, _FOLD.value)
    others, versions = contenders.peers(known, task, budgets, _CORE.value, _MONAI.value, _NNUNET.value)
    teams = [*(contenders.ours(entry, _PREDICT_S.value) for entry in configs), *others]
    workdir = Path(_WORKDIR.value)
    plan = heats.Plan(data, known, task, folds, budgets, _SEEDS.value, _CORE.value, workdir)
    provenance = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "one_core": _CORE.value is not None,
        **environment.describe(_VERSIONS),
    }
    results = heats.run(plan, teams, lambda line: print(line, flush=True))
    networks = {team.name: team.facts for team in teams if team.facts}
    record = standings.record(data.resolve().name, results, networks, versions, provenance)
    files.write_json(out / "comparison.json", record)
    write_comparison_page(out / "comparison.html", record)
    print(f"\n{comparison_markdown.markdown(record)}\n\n{out / 'comparison.html'}")


if __name__ == "__main__":
    cli.run(main)
