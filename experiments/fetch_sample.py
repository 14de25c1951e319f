"""Downloads one real CT with labels and writes it as NIfTI, in a training, a validation and a held-out part.

python -m experiments.fetch_sample --out=DIR
"""

from __future__ import annotations

from collections.abc import Sequence

from dsdenseunet.data.samples.sample import ATTRIBUTION, fetch_sample
from dsdenseunet.runtime import cli

OUT = cli.output_folder("out", None, "Folder to write to.", required=True)


def main(argv: Sequence[str]) -> None:
    """Fetches the sample."""
    del argv
    sample = fetch_sample(OUT.value)
    print(f"{sample.development}: {sample.training} (training), {sample.validation} (validation)")
    print(f"{sample.held_out}: {sample.test} (held out)")
    print(f"data: {ATTRIBUTION}")


if __name__ == "__main__":
    cli.run(main)
