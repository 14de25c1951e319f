"""Writes the zip that the LiTS challenge takes, checked against the test volumes.

python -m experiments.submit --predictions=DIR --volumes=DIR --out=FILE.zip [--partial]
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from tqdm import tqdm

from dsdenseunet.core.words import counted
from dsdenseunet.data.scans import walk
from dsdenseunet.evaluation.submission import Entry, notes, write_submission
from dsdenseunet.runtime import cli

PREDICTIONS = flags.DEFINE_string("predictions", None, "Folder of predictions.", required=True)
VOLUMES = flags.DEFINE_string("volumes", None, "Folder of test-volume-N.nii.", required=True)
OUT = cli.output_file("out", None, "The .zip file to write.", required=True)
PARTIAL = flags.DEFINE_bool("partial", False, "Take the cases that are there instead of all of 0 to 69.")


def main(argv: Sequence[str]) -> None:
    """Writes the zip and says what is in it."""
    del argv
    with tqdm(unit="case", disable=None) as progress:

        def show(entry: Entry) -> None:
            progress.set_postfix_str(entry.name, refresh=False)
            progress.update()

        zipped = write_submission(
            PREDICTIONS.value, VOLUMES.value, OUT.value, partial=PARTIAL.value, on_entry=show
        )
    walk.tell(zipped.passed_over)
    for line in notes(zipped.used):
        print(line)
    tumours = sum(entry.tumour_voxels > 0 for entry in zipped.used)
    print(f"{OUT.value}: {counted(len(zipped.used), 'case')}, {tumours} with tumour")


if __name__ == "__main__":
    cli.run(main)
