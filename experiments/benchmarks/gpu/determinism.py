"""What bit-equal runs on a GPU cost: the training step with and without XLA's deterministic operations."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.measuring import jax_tasks
from experiments.benchmarks.measuring.pairs import alternate
from experiments.benchmarks.measuring.worker import Task, Worker

FLAG = "--xla_gpu_deterministic_ops=true"
# What is compared; memory may differ.
_VALUES = ("loss", "grad_norm")


def determinism(config: Mapping[str, Any], rounds: int, say: Callable[[str], object]) -> dict[str, Any]:
    """Measures the training step of a config on this machine's device with and without the flag.

    Args:
        config: a resolved config as plain values.
        rounds: how often the two take turns.
        say: told of the result, in a line.

    Returns:
        What `cost` gives; plain values.
    """
    with tempfile.TemporaryDirectory() as folder:
        jax_tasks.write_weights(config["model"], Path(folder))
        return cost(functools.partial(jax_tasks.Step, config, Path(folder)), rounds, say)


def cost(make_task: Callable[[], Task], rounds: int, say: Callable[[str], object]) -> dict[str, Any]:
    """Two processes with the flag and two without: their first results, and the seconds of one of each.

    Args:
        make_task: picklable; its outputs `loss` and `grad_norm` are compared bit by bit.
        rounds: how often the two take turns.
        say: told of the result, in a line.

    Returns:
        `ratio` and `cpu_ratio` of seconds with the flag to those without, `seconds`, and for each side
        `equal_bits`: whether two processes gave the same bits.
    """
    given = os.environ.get("XLA_FLAGS", "")
    # Neither side may take the whole memory of a device for itself.
    shared = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    environments = {
        "default": {**shared, "XLA_FLAGS": given},
        "deterministic": {**shared, "XLA_FLAGS": f"{given} {FLAG}".strip()},
    }
    first = {side: _first_outputs(side, make_task, given) for side, given in environments.items()}
    with (
        Worker("default", environments["default"]) as default,
        Worker("deterministic", environments["deterministic"]) as deterministic,
    ):
        workers = {"default": default, "deterministic": deterministic}
        for worker in workers.values():
            worker.load(make_task)
        again = {side: worker.outputs() for side, worker in workers.items()}
        measured = alternate(workers, rounds)
    equal = {
        side: all(np.array_equal(first[side][name], again[side][name]) for name in _VALUES) for side in again
    }
    ratio = measured.ratio("deterministic", "default")
    say(f"deterministic / default: {ratio}; two processes equal: {equal}")
    return {
        "flag": FLAG,
        "ratio": ratio.as_json(),
        "cpu_ratio": measured.ratio("deterministic", "default", "cpu_s").as_json(),
        "seconds": measured.as_json(),
        "equal_bits": equal,
    }


def _first_outputs(
    name: str, make_task: Callable[[], Task], environment: Mapping[str, str]
) -> dict[str, np.ndarray]:
    with Worker(name, environment) as worker:
        worker.load(make_task)
        return worker.outputs()
