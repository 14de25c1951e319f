"""Writes a page on which to scroll through a scan, its prediction and its reference; it works offline.

    python -m experiments.view --image=scan.nii.gz --prediction=predictions/scan.nii.gz --out=scan.html

Three planes, window and opacity to set, pieces to jump to. Any of the labels may be left out. What the labels
mean is said by the config's task; without one, by the dataset.json beside the image's folder, or it is LiTS.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from dsdenseunet.core.words import counted
from dsdenseunet.reporting.viewer import view_files
from dsdenseunet.runtime import cli
from dsdenseunet.tasks import decathlon

_IMAGE = flags.DEFINE_string(
    "image", None, "The scan: NIfTI, or the folder of a DICOM series.", required=True
)
_PREDICTION = flags.DEFINE_string("prediction", None, "Its predicted labels.")
_REFERENCE = flags.DEFINE_string("reference", None, "The labels that they are compared with.")
_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/, for its task.")
_OUT = cli.output_file("out", None, "The .html file to write.", required=True)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, writes the page, says how large it is."""
    del argv
    task = decathlon.task_of(Path(_IMAGE.value).parent, _CONFIG.value)
    found = view_files(_OUT.value, _IMAGE.value, task, _PREDICTION.value, _REFERENCE.value)
    megabytes = Path(_OUT.value).stat().st_size / 1e6
    print(
        f"{_OUT.value}: {megabytes:.1f} MB, {counted(len(found), 'piece')} to jump to; open it in a browser"
    )


if __name__ == "__main__":
    cli.run(main)
