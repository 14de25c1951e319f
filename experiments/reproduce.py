"""Repeats the paper's tables and figures: its values beside ours, and why they differ.

python -m experiments.reproduce all --out=reproduction [--data=LiTS]

Or one of table1, table2, table3, figure2, figure3, figure4, figure5. Without a data set of one's own all of
it is at a reduced size, on phantoms and the demo's CT, as each title says: under 30 minutes on 2 cores. What
is done is reused. Prints tables as Markdown; writes a JSON file for each, PNG and PDF figures, and a page.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from dsdenseunet.runtime import cli
from dsdenseunet.runtime.stages import StageFailedError
from experiments.benchmarks.reproduction import items

_ITEM = cli.word("item", "all", [*sorted(items.ITEMS), "all"], "What to repeat; also as a word by itself.")
_OUT = cli.output_folder("out", "reproduction", "Folder for everything that is written.")
_DEMO = cli.output_folder("demo", "demo", "Folder of experiments.demo, which is run or reused.")
_DATA = flags.DEFINE_string("data", None, "Folder of LiTS: the paper's full protocol, which takes a GPU.")


def main(_: Sequence[str]) -> int:
    """Makes what was asked for; exit status of the command that failed, if one did."""
    names = list(items.ITEMS) if _ITEM.value == "all" else [_ITEM.value]
    request = items.Request(Path(_OUT.value), Path(_DEMO.value), Path(_DATA.value) if _DATA.value else None)
    try:
        page = items.reproduce(names, request, lambda text: print(text, flush=True))
    except StageFailedError as error:
        print(f"error: {error}; the same command continues from there", file=sys.stderr)
        return error.status
    print(f"\n{page.resolve()}")
    return 0


if __name__ == "__main__":
    cli.run(main)
