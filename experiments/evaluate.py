"""Scores predictions against references: any task by its regions, LiTS with its challenge's metrics.

python -m experiments.evaluate --predictions=DIR --references=DIR --out=DIR
    [--config=FILE] [--mode=official|corrected|both] [--compare=DIR2] [--images=DIR] [--workers=N]

The task is the config's; without one, that of a dataset.json in the references' folder or above it, or LiTS.
Writes cases.csv, of LiTS lesions.csv, scores.json and report.html; class probabilities that lie beside the
predictions are scored too. Of LiTS, `official` gives what the challenge's scorer gives, faults included;
`corrected` repairs them (docs/reference/metrics.md). Called again, it continues where it was interrupted and
scores only what has changed. Exit status 1: some pairs could not be scored, see failures.json; the scores are
those of the others.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from dsdenseunet.core import failures
from dsdenseunet.core.words import counted
from dsdenseunet.evaluation.case import MODES
from dsdenseunet.evaluation.folder import evaluate
from dsdenseunet.reporting.score_lines import score_lines
from dsdenseunet.reporting.score_page import write_score_page
from dsdenseunet.runtime import cli
from dsdenseunet.tasks import decathlon

PREDICTIONS = flags.DEFINE_string("predictions", None, "Folder of predicted label volumes.", required=True)
REFERENCES = flags.DEFINE_string("references", None, "Folder of reference label volumes.", required=True)
OUT = cli.output_folder("out", None, "Folder to write the results to.", required=True)
CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/, for its task.")
MODE = flags.DEFINE_enum(
    "mode", "both", [*MODES, "both"], "How faults of the challenge's scorer are treated."
)
COMPARE = flags.DEFINE_string("compare", None, "Folder of a second method's predictions, to compare with.")
IMAGES = flags.DEFINE_string("images", None, "Folder of the images, for pictures; default: the references'.")
WORKERS = flags.DEFINE_integer("workers", os.cpu_count() or 1, "Cases scored at once (up to 2 GB each).", 1)


def main(argv: Sequence[str]) -> int:
    """Scores, prints the table and the page's path."""
    del argv
    result = evaluate(
        PREDICTIONS.value,
        REFERENCES.value,
        OUT.value,
        modes=MODES if MODE.value == "both" else (MODE.value,),
        workers=WORKERS.value,
        compare=COMPARE.value,
        images=IMAGES.value,
        task=decathlon.task_of(REFERENCES.value, CONFIG.value),
    )
    for line in score_lines(result):
        print(line)
    print(f"{counted(result['cases'], 'case')}; {write_score_page(OUT.value)}")
    failed = result["failures"] or result.get("comparison", {"failures": []})["failures"]
    return failures.EXIT_STATUS if failed else 0


if __name__ == "__main__":
    cli.run(main)
