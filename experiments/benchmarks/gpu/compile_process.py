"""Compiles what later parts measure, a few programs at a time, while earlier parts run.

python -m experiments.benchmarks.gpu.compile_process SETTING PART...

Each program is compiled and run once in a process of its own, so that the part that measures it finds it in
JAX's compilation cache.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from experiments.benchmarks.gpu import record, weights
from experiments.benchmarks.gpu.parts import PARTS
from experiments.benchmarks.gpu.setting import Program, Setting
from experiments.benchmarks.measuring.worker import Worker


def run(setting: Setting, names: list[str]) -> None:
    """All programs of the parts, in order; one that fails is noted, and its part finds out for itself."""
    # What is measured meanwhile goes first.
    os.nice(10)
    (setting.folder / "compiled").mkdir(exist_ok=True)
    weights.ensure(setting)
    with ThreadPoolExecutor(setting.amounts.compilers) as threads:
        for name in names:
            for program in PARTS[name].programs(setting):
                threads.submit(_compile, setting, program)


def _compile(setting: Setting, program: Program) -> None:
    marker = setting.marker(program.name)
    if marker.exists():
        return
    start = time.monotonic()
    failed = {}
    try:
        with Worker(program.name, program.environment) as worker:
            worker.load(program.make_task)
    except RuntimeError as error:
        failed = {"error": str(error)[-1000:]}
    marker.touch()
    seconds = round(time.monotonic() - start, 1)
    record.append(setting.results, {"part": "compile", "case": program.name, "seconds": seconds, **failed})


if __name__ == "__main__":
    run(Setting.load(Path(sys.argv[1])), sys.argv[2:])
