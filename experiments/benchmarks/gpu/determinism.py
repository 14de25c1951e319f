"""The cost of bit-equal runs on a GPU: the training step with and without XLA's deterministic operations."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from experiments.benchmarks.gpu import weights
from experiments.benchmarks.gpu.setting import Program, Setting, load_all
from experiments.benchmarks.measuring import jax_tasks
from experiments.benchmarks.measuring.pairs import alternate
from experiments.benchmarks.measuring.worker import Worker

FLAG = "--xla_gpu_deterministic_ops=true"
# What is compared; memory may differ.
_VALUES = ("loss", "grad_norm")


def _environments() -> dict[str, dict[str, str]]:
    given = os.environ.get("XLA_FLAGS", "")
    return {"default": {"XLA_FLAGS": given}, "deterministic": {"XLA_FLAGS": f"{given} {FLAG}".strip()}}


def _make_task(setting: Setting) -> Callable[[], Any]:
    config = setting.with_model(
        setting.amounts.typical_batch, separable=True, dtype=setting.amounts.dtypes[0]
    )
    return functools.partial(jax_tasks.Step, config, setting.weights(True))


def programs(setting: Setting) -> list[Program]:
    """The step with the flag; that without is the one that the networks' part has."""
    return [Program("step, deterministic", _make_task(setting), _environments()["deterministic"])]


def measure(setting: Setting) -> Iterator[dict[str, Any]]:
    """One result: what `cost` gives for the DS step."""
    amounts = setting.amounts
    case = f"DS, {amounts.dtypes[0]}, batch {amounts.typical_batch}"
    if case in setting.known("determinism"):
        return
    weights.ensure(setting)
    setting.wait_for("step, deterministic")
    found = cost(_make_task(setting), amounts.rounds, setting.say, setting.left_s() - 10, quiet=setting.quiet)
    yield {"case": case, **found}


def cost(
    make_task: Callable[[], Any],
    rounds: int,
    say: Callable[[str], object],
    limit_s: float = float("inf"),
    quiet: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
) -> dict[str, Any]:
    """Two processes with the flag and two without: their first results, and the seconds of one of each.

    Args:
        make_task: picklable; its outputs `loss` and `grad_norm` are compared bit by bit.
        rounds: how often the two take turns.
        say: told of the result, in a line.
        limit_s: in which all of them must be ready.
        quiet: held while something is timed.

    Returns:
        `ratio` and `cpu_ratio` of seconds with the flag to those without, `seconds`, and for each side
        `equal_bits`: whether two processes gave the same bits.

    Raises:
        RuntimeError: a side failed.
    """
    sides = {
        f"{side}{again}": environment
        for side, environment in _environments().items()
        for again in ("", ", again")
    }
    with contextlib.ExitStack() as stack:
        # Neither side may reserve the whole memory of a device.
        shared = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        workers = {
            side: stack.enter_context(Worker(side, {**shared, **environment}))
            for side, environment in sides.items()
        }
        limit = None if limit_s == float("inf") else limit_s
        _, failed = load_all(workers, dict.fromkeys(workers, make_task), limit)
        if failed:
            raise RuntimeError("\n".join(failed.values()))
        outputs = {side: worker.outputs() for side, worker in workers.items()}
        with quiet():
            measured = alternate({side: workers[side] for side in _environments()}, rounds)
    equal = {side: _equal(outputs[side], outputs[f"{side}, again"]) for side in _environments()}
    ratio = measured.ratio("deterministic", "default")
    say(f"deterministic / default: {ratio}; two processes equal: {equal}")
    return {
        "flag": FLAG,
        "ratio": ratio.as_json(),
        "cpu_ratio": measured.ratio("deterministic", "default", "cpu_s").as_json(),
        "seconds": measured.as_json(),
        "equal_bits": equal,
    }


def _equal(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> bool:
    return all(np.array_equal(first[name], second[name]) for name in _VALUES)
