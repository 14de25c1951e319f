"""Puts what the benchmarks measured into the tables of README.md and docs/explanation/speed.md.

python -m experiments.benchmarks.publish [--gpu=gpu/benchmark_gpu.json] [--cpu=FILE]

A new record takes the place of the one in docs/results first. The tables stand between marks there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from dsdenseunet.core import files
from dsdenseunet.runtime import cli
from experiments.benchmarks.publishing import blocks

_GPU = flags.DEFINE_string("gpu", None, "Record of experiments.benchmark_gpu, in place of the published one.")
_RACE = flags.DEFINE_string("race", None, "Record of experiments.benchmarks.race, likewise.")
_CPU = flags.DEFINE_string("cpu", None, "Record of experiments.benchmarks.cpu, likewise.")
_ROOT = cli.output_folder("root", str(Path(__file__).resolve().parents[2]), "Clone whose documents it is.")


def main(argv: Sequence[str]) -> None:
    """Copies, writes, and names what has changed."""
    del argv
    root = Path(_ROOT.value)
    for given, name in ((_GPU.value, blocks.GPU), (_CPU.value, blocks.CPU), (_RACE.value, blocks.RACE)):
        if given:
            if name == blocks.GPU:
                blocks.check_gpu(files.read_json(given), given)
            files.write_json(root / blocks.RESULTS / name, files.read_json(given))
    changed = blocks.publish(root)
    print("\n".join(f"written: {path}" for path in changed) or "the documents already show these results")


if __name__ == "__main__":
    cli.run(main)
