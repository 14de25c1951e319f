"""Some steps of a phase under JAX's profiler."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from dsdenseunet.core.errors import InputError
from dsdenseunet.training import stages

# Names in the trace: of a step, and in it of what the host is busy with.
STEP, INPUT, DISPATCH, RESULT = "train", "next batch", "dispatch", "metrics"
FOLDER = "profile"


class StepTrace:
    """Writes a trace of the steps from the first to the last that it is to trace, as far as they are run.

    Args:
        steps: (first, last) of the phase, from 1; () for none.
        folder: that XProf and TensorBoard's profile plug-in open.
    """

    def __init__(self, steps: Sequence[int], folder: Path):
        self._steps = range(steps[0], steps[1] + 1) if steps else range(0)
        self._folder = folder
        self._runs = False

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """A step of that number, which the block dispatches."""
        if number in self._steps and not self._runs:
            jax.profiler.start_trace(str(self._folder), profiler_options=options())
            self._runs = True
        with jax.profiler.StepTraceAnnotation(STEP, step_num=number):
            yield

    def end(self, number: int, metrics: Any = None) -> None:
        """Ends the trace after the last of its steps, for which it waits; its metrics may be on their way."""
        if self._runs and number >= self._steps[-1]:
            jax.block_until_ready(metrics)
            self.close()

    def close(self) -> None:
        """Ends the trace, wherever it is."""
        if self._runs:
            self._runs = False
            jax.profiler.stop_trace()


def options() -> jax.profiler.ProfileOptions:
    """Of a trace without calls of Python's functions, each of which would take its share of the time."""
    chosen = jax.profiler.ProfileOptions()
    chosen.python_tracer_level = 0
    return chosen


def set_steps(config: ConfigDict, flag: str | None) -> None:
    """Sets `config.training.profile_steps`, of a config of several stages each one's, from --profile_steps.

    Raises:
        InputError: the flag is not FIRST:LAST.
    """
    if flag is None:
        return
    if not re.fullmatch(r"\d+:\d+", flag):
        raise InputError(
            f"--profile_steps={flag}",
            found=repr(flag),
            expected="FIRST:LAST, steps of each phase from 1",
            fix="for example --profile_steps=20:25",
        )
    first, last = map(int, flag.split(":"))
    several = config[stages.SECTION] if stages.has_stages(config) else None
    for one in [config] if several is None else [several[name] for name in several.order]:
        one.training.profile_steps = (first, last)
