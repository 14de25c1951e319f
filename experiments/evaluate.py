"""Scores predictions against references with the LiTS challenge's metrics.

python -m experiments.evaluate --predictions=DIR --references=DIR --out=DIR [--mode=official|corrected|both]

Writes cases.csv, lesions.csv and scores.json. `official` gives what the challenge's scorer
gives, faults included; `corrected` repairs them (docs/reference/metrics.md).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from absl import flags

from dsdenseunet import cli
from dsdenseunet.evaluation.case import MODES
from dsdenseunet.evaluation.folder import evaluate

PREDICTIONS = flags.DEFINE_string("predictions", None, "Folder of predicted label volumes.", required=True)
REFERENCES = flags.DEFINE_string("references", None, "Folder of reference label volumes.", required=True)
OUT = flags.DEFINE_string("out", None, "Folder to write the results to.", required=True)
MODE = flags.DEFINE_enum(
    "mode", "both", [*MODES, "both"], "How faults of the challenge's scorer are treated."
)
WORKERS = flags.DEFINE_integer("workers", os.cpu_count() or 1, "Cases scored at once (up to 4 GB each).", 1)


def main(argv: Sequence[str]) -> None:
    """Scores and prints the table."""
    del argv
    modes = MODES if MODE.value == "both" else (MODE.value,)
    result = evaluate(PREDICTIONS.value, REFERENCES.value, OUT.value, modes=modes, workers=WORKERS.value)
    print("".join(f"{text:>14}" for text in ("", *modes)))
    for name in result["modes"][modes[0]]["scores"]:
        values = [result["modes"][mode]["scores"][name] for mode in modes]
        print(
            f"{name:<32}"
            + "".join(f"{'-' if value is None else format(value, '.3f'):>14}" for value in values)
        )
    print(f"{result['cases']} cases; results in {OUT.value}")


if __name__ == "__main__":
    cli.run(main)
