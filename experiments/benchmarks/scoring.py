"""Seconds and memory that scoring one large case takes on one core; prints JSON.

python -m experiments.benchmarks.scoring [--size=800,512,512] [--lesions=200] [--keep=DIR]
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from dsdenseunet.core.errors import InputError
from dsdenseunet.runtime import cli
from experiments.benchmarks.measuring.scored_pair import measure, write_pair

SIZE = flags.DEFINE_list("size", ["800", "512", "512"], "Voxels along D, H, W.")
LESIONS = flags.DEFINE_integer("lesions", 200, "Lesions of the reference.", 1)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the drawn pair.", 0)
KEEP = cli.output_folder("keep", None, "Folder to leave the pair in; otherwise it is deleted.")


def main(argv: Sequence[str]) -> None:
    """Draws the pair, scores it in a process of its own, prints the result."""
    del argv
    if len(SIZE.value) != 3 or not all(side.isdigit() and int(side) >= 32 for side in SIZE.value):
        found = ",".join(SIZE.value)
        raise InputError("--size", found=found, expected="three sides of at least 32", fix="e.g. 800,512,512")
    depth, height, width = (int(side) for side in SIZE.value)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(KEEP.value or temporary)
        pair = write_pair(folder, (depth, height, width), LESIONS.value, SEED.value)
        print(json.dumps(measure(pair), indent=2))


if __name__ == "__main__":
    cli.run(main)
