"""Looks at a folder of labelled scans and writes a config for it, with the reason of every value.

python -m experiments.configure --data=Task04_Hippocampus --out=configs/my_task.py

Beside the config come a page that shows the data and the reasons, and the same as JSON. Patch and batch are
the largest whose training step fits --budget_gib of --device, by XLA's own compiler, which is asked as
experiments.plan_memory does. With --cache the scans are prepared as well: experiments.train can follow.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags
from tqdm import tqdm

from dsdenseunet.configure.configuring import beside, check_out, configure, prepare_cache, write
from dsdenseunet.data.scans import walk
from dsdenseunet.memory.cards import cards
from dsdenseunet.reporting.configure_page import write_configure_page
from dsdenseunet.runtime import cli

DATA = flags.DEFINE_string(
    "data", None, "Folder of a data set: LiTS, Decathlon or nnU-Net layout.", required=True
)
OUT = cli.output_file("out", None, "The config to write, such as configs/my_task.py.", required=True)
CACHE = cli.output_folder("cache", None, "Folder to prepare the scans into (default: they are not).")
NETWORK = config_flags.DEFINE_config_file(
    "network", help_string="A config whose network and training to take."
)
DEVICE = flags.DEFINE_string("device", "rtx3070", f"The card: {', '.join(cards())}, or its driver's name.")
BUDGET = flags.DEFINE_float("budget_gib", None, "GiB of the card to use (default: all of it).", 0.001)
COMPILE = flags.DEFINE_bool("compile", True, "Ask the compiler what fits; off: the budget is not checked.")
TIMEOUT = flags.DEFINE_float("timeout_s", 900.0, "Seconds after which a compilation has failed.", 1.0)
WORKERS = flags.DEFINE_integer("workers", 2, "Scans read at once (about 1 GB each).", 1)
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace a config that is there, and what lies beside it.")


def main(argv: Sequence[str]) -> int:
    """Exit status 1: some cases could not be read."""
    del argv
    check_out(OUT.value, OVERWRITE.value)
    with tqdm(unit="case", disable=None) as progress:

        def show(done: int, of: int, name: str) -> None:
            progress.total, progress.n = of, done
            progress.set_postfix_str(name)

        configured = configure(
            DATA.value,
            out=OUT.value,
            device=DEVICE.value,
            budget_gib=BUDGET.value,
            compiled=COMPILE.value,
            timeout_s=TIMEOUT.value,
            workers=WORKERS.value,
            cache=CACHE.value,
            network=NETWORK.value,
            on_case=show,
            say=progress.write,
        )
    record = write(OUT.value, configured)
    write_configure_page(beside(OUT.value, "page"), record)
    walk.tell(configured.fingerprint.passed_over)
    for line in configured.notes:
        print(line)
    print(f"{OUT.value}: what was chosen, and why, is in {beside(OUT.value, 'page')}")
    if CACHE.value:
        prepare_cache(configured, CACHE.value, WORKERS.value)
        print(f"{CACHE.value}: the scans as training reads them")
    return 1 if configured.fingerprint.failures else 0


if __name__ == "__main__":
    cli.run(main)
