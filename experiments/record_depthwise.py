"""Writes what a benchmark measured of depthwise convolutions to where `auto` chooses their form by it.

python -m experiments.record_depthwise --result=docs/results/benchmark_gpu.json
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from dsdenseunet import cli, files
from dsdenseunet.ops import depthwise_choice
from dsdenseunet.profiling.benchmark import depthwise_record

RESULT = flags.DEFINE_string("result", None, "JSON of benchmark or benchmark_gpu.", required=True)
FILE = flags.DEFINE_string(
    "file",
    str(Path(depthwise_choice.__file__).with_name(depthwise_choice.FILE)),
    "File to write to; other platforms' measurements in it are kept.",
)


def main(argv: Sequence[str]) -> None:
    """Replaces the records of the result's device."""
    del argv
    new = depthwise_record.measurements(files.read_json(RESULT.value), RESULT.value)
    path = Path(FILE.value)
    old = files.read_json(path)["measurements"] if path.exists() else []
    files.write_json(path, depthwise_record.merge(old, new))
    for record in new:
        print(f"{path}: {len(record['cases'])} cases, {record['dtype']}, {record['hardware']}")


if __name__ == "__main__":
    cli.run(main)
