"""Measures folder prediction with reading, computing and writing overlapped and one after the other.

python -m experiments.benchmarks.prediction --workdir=runs/ds --input=scans [--rounds=3] [--out=FILE]
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
from absl import flags

from dsdenseunet.core import files
from dsdenseunet.inference.predict import Predictor
from dsdenseunet.inference.scans import find_scans
from dsdenseunet.models import registry
from dsdenseunet.runtime import cli
from dsdenseunet.runtime.compilation import use_compilation_cache
from dsdenseunet.training import provenance
from dsdenseunet.training.checkpoint import load_best
from experiments.benchmarks.measuring.folder_throughput import markdown, measure

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the training run.", required=True)
_INPUT = flags.DEFINE_string("input", None, "A folder of scans.", required=True)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "How often both ways are measured, in turn.", 1)
_DATA = flags.DEFINE_string("data", "", "What the scans are, for the record.")
_OUT = cli.output_file("out", None, "File to write everything that was measured to, as JSON.")


def main(argv: Sequence[str]) -> None:
    """Measures and prints a table."""
    del argv
    config, variables = load_best(_WORKDIR.value)
    scans = find_scans(_INPUT.value, channels=len(config.task.channels)).used
    use_compilation_cache()
    predictor = Predictor.of(config, registry.build(config.model), variables)
    lanes = [predictor.on(device) for device in jax.local_devices()]
    record = measure(lanes, scans, _ROUNDS.value, lambda line: print(line, flush=True))
    print(f"\n{markdown(record)}")
    if _OUT.value:
        made_from = provenance.gather(config.to_dict(), _DATA.value or str(_INPUT.value))
        files.write_json(_OUT.value, {**record, "provenance": made_from})


if __name__ == "__main__":
    cli.run(main)
