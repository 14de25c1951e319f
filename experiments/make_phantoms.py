"""Writes synthetic scans with labels: abdominal CTs as LiTS, or chests in CT and PET as the Decathlon.

python -m experiments.make_phantoms --out=DIR --cases=10 --seed=0 [--kind=lung] [--size=128,128,128]
    [--compressed]

The same seed gives the same files.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from tqdm import tqdm

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.samples.lung import write_lung_phantoms
from dsdenseunet.data.samples.phantom import write_phantoms
from dsdenseunet.runtime import cli

WRITERS = {"liver": write_phantoms, "lung": write_lung_phantoms}

OUT = cli.output_folder("out", None, "Folder to write the cases to.", required=True)
KIND = flags.DEFINE_enum(
    "kind", "liver", tuple(WRITERS), "liver: CTs, tumours; lung: CT and PET, lesions of COVID-19."
)
CASES = flags.DEFINE_integer("cases", 10, "How many; the last of every five has no tumour or lesion.", 1)
SEED = flags.DEFINE_integer("seed", 0, "Another seed draws other patients.", 0)
SIZE = flags.DEFINE_list("size", ["128", "128", "128"], "Voxels D,H,W; D is an upper limit.")
COMPRESSED = flags.DEFINE_bool("compressed", False, "Write .nii.gz.")


def main(argv: Sequence[str]) -> None:
    """Writes the phantoms."""
    del argv
    try:
        depth, height, width = (int(side) for side in SIZE.value)
    except ValueError:
        raise InputError(
            "--size", found=",".join(SIZE.value), expected="three numbers", fix="e.g. --size=128,128,128"
        ) from None
    with tqdm(total=CASES.value, unit="case", disable=None) as progress:
        WRITERS[KIND.value](
            OUT.value,
            CASES.value,
            SEED.value,
            (depth, height, width),
            COMPRESSED.value,
            on_case=lambda path: progress.update() and None,
        )
    print(f"{OUT.value}: {CASES.value} cases")


if __name__ == "__main__":
    cli.run(main)
