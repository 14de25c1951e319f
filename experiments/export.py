"""Writes a run's best network as a folder that runs without this project, on volumes of any size.

    python -m experiments.export --workdir=runs/ds --out=exported --data_licence=CC-BY-SA-4.0

StableHLO, weights (safetensors), metadata (JSON) and a loader in one file; all of it or, after an error,
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from dsdenseunet.export import artifact
from dsdenseunet.runtime import cli

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the training run.", required=True)
_OUT = cli.output_folder("out", None, "New folder for the exported network.", required=True)
_PHASE = flags.DEFINE_string("phase", None, "Phase whose best weights are used (default: the last).")
_PLATFORMS = flags.DEFINE_list("platforms", "cpu,cuda", "What it can run on: cpu, cuda, rocm, tpu.")
_DATA_LICENCE = flags.DEFINE_string(
    "data_licence", None, "Licence of the training data, which is that of the weights."
)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, exports, says what lies where."""
    del argv
    metadata = artifact.export(
        _WORKDIR.value,
        _OUT.value,
        phase=_PHASE.value,
        platforms=_PLATFORMS.value,
        data_licence=_DATA_LICENCE.value,
    )
    for name, entry in metadata["files"].items():
        print(f"{_OUT.value}/{name}  {entry['bytes']:,} bytes  SHA-256 {entry['sha256']}")
    print(
        f"{_OUT.value}/metadata.json names config, code and the cases of training: read it before you publish"
    )
    if _DATA_LICENCE.value is None:
        print("NOTE: the licence of the data is not stated; --data_licence=TEXT puts it into the metadata")


if __name__ == "__main__":
    cli.run(main)
