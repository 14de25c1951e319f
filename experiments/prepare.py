"""Reads a data set once into a cache that training maps from disk; continues where it was interrupted.

python -m experiments.prepare --data=DIR --cache=DIR [--config=FILE] [--workers=N] [--verify] [--prune]

The task is the config's; without one, that of the folder's own dataset.json, or LiTS. The table at the end
says of each case: new or current, shape, spacing, millilitres of each region.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags
from tqdm import tqdm

from dsdenseunet.data.preparation import Row, prepare
from dsdenseunet.data.preparation_report import report
from dsdenseunet.data.scans import walk
from dsdenseunet.data.scans.layouts import find_cases
from dsdenseunet.runtime import cli
from dsdenseunet.tasks import decathlon

DATA = flags.DEFINE_string(
    "data", None, "Folder of a data set: LiTS, Decathlon or nnU-Net layout.", required=True
)
CACHE = cli.output_folder("cache", None, "Folder to write the cache to.", required=True)
CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/, for its task.")
WORKERS = flags.DEFINE_integer(
    "workers", 2, "Scans read at once (about 1 GB each); 0: one, in this process.", 0
)
VERIFY = flags.DEFINE_bool("verify", False, "Compare what is there with its hashes; rewrite what differs.")
PRUNE = flags.DEFINE_bool(
    "prune", False, "Take out of the cache what is outdated and what this data set does not have."
)


def main(argv: Sequence[str]) -> int:
    """Prepares, prints the table, and fails if any case did."""
    del argv
    task = decathlon.task_of(DATA.value, CONFIG.value)
    found = find_cases(DATA.value, len(task.channels))
    with tqdm(total=len(found.used), unit="case", disable=None) as progress:

        def show(row: Row) -> None:
            progress.set_postfix_str(f"{row.name} {row.status}", refresh=False)
            progress.update()

        rows = prepare(
            found.used, CACHE.value, WORKERS.value, task, verify=VERIFY.value, prune=PRUNE.value, on_row=show
        )
    walk.tell(found.passed_over)
    print(f"{task.in_words()}\n{report(rows, task)}")
    return cli.EXIT_BAD_INPUT if any(row.error for row in rows) else 0


if __name__ == "__main__":
    cli.run(main)
