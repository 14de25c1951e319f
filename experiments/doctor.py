"""Examines every file of a data set, reports faults and how to repair them, and can write repaired copies.

python -m experiments.doctor --data=DIR [--config=FILE] [--manifest=FILE] [--repair=DIR] [--workers=N]

Images and labels are judged by the config's task; without one, by that of the folder's own dataset.json, or
LiTS. Exit status 1 if there are errors.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags
from tqdm import tqdm

from dsdenseunet.core import files
from dsdenseunet.core.words import counted
from dsdenseunet.data.doctor.case_checks import Examined
from dsdenseunet.data.doctor.examination import examine
from dsdenseunet.data.doctor.findings import SEVERITIES
from dsdenseunet.data.scans import walk
from dsdenseunet.runtime import cli
from dsdenseunet.tasks import decathlon

DATA = flags.DEFINE_string(
    "data", None, "Folder of a data set: LiTS, Decathlon or nnU-Net layout.", required=True
)
CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/, for its task.")
MANIFEST = cli.output_file("manifest", "doctor.json", "JSON file to write with all files and findings.")
REPAIR = cli.output_folder("repair", None, "Folder for repaired copies, outside the data set.")
WORKERS = flags.DEFINE_integer("workers", os.cpu_count() or 1, "Cases at once (up to 2 GB each).", 1)


def main(argv: Sequence[str]) -> int:
    """Prints findings by severity, then a line of totals."""
    del argv
    task = decathlon.task_of(DATA.value, CONFIG.value)
    print(task.in_words())
    with tqdm(unit="case", disable=None) as progress:

        def show(examined: Examined) -> None:
            progress.set_postfix_str(examined.case.name, refresh=False)
            progress.update()

        findings, manifest = examine(
            DATA.value, task=task, repair_to=REPAIR.value, workers=WORKERS.value, on_case=show
        )
    files.write_json(MANIFEST.value, manifest)
    for finding in findings:
        print(finding)
    walk.tell(walk.from_json(manifest["passed_over"]))
    counts = Counter(finding.severity for finding in findings)
    orientations = Counter(file["orientation"] for file in manifest["files"])
    print("orientations: " + ", ".join(f"{codes} {count}" for codes, count in sorted(orientations.items())))
    sums = [counted(counts[severity], severity) for severity in SEVERITIES]
    print(f"{counted(len(manifest['files']), 'file')}: {', '.join(sums)}")
    if REPAIR.value:
        print(f"{counted(len(manifest['copies']), 'case')} copied to {REPAIR.value}")
    return 1 if counts["error"] else 0


if __name__ == "__main__":
    cli.run(main)
