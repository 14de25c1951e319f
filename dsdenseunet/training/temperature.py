"""The temperature at which a run's probabilities mean what they say, in a file beside its phases.

It is found on cases that the run has not trained on (`evaluation.calibration`), and belongs to the weights
that it was found with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.fields import is_number
from dsdenseunet.training.checkpoint import best_phase
from dsdenseunet.training.checkpoint_folder import phase_folder, steps

FILE = "temperature.json"
_AGAIN = "find it again: experiments.train --out_of_fold; or remove the file"


def write(workdir: Path, temperature: float, **found_on: Any) -> None:
    """Writes the temperature of a run's best weights, and what it was found on."""
    files.write_json(workdir / FILE, {"temperature": temperature, **_weights(workdir, None), **found_on})


def of_runs(workdirs: Sequence[str], phase: str | None = None) -> float:
    """The temperature of the mean of some runs' probabilities: their own, 1 where none has been found.

    Of different ones it is the geometric mean.

    Args:
        workdirs: folders of runs.
        phase: whose weights (None: the last's).

    Raises:
        InputError: only some of the runs have one, or it was found with other weights of a run.
    """
    paths = {workdir: Path(workdir) / FILE for workdir in workdirs}
    known = {workdir: path for workdir, path in paths.items() if path.exists()}
    if not known:
        return 1.0
    if absent := [paths[workdir] for workdir in workdirs if workdir not in known]:
        raise InputError(
            absent[0],
            found="no such file",
            expected=f"a temperature of each run, as there is {next(iter(known.values()))}",
            fix="find it: experiments.train --out_of_fold; or remove those of the other runs",
        )
    return math.exp(sum(math.log(_read(path, phase)) for path in known.values()) / len(known))


def _read(path: Path, phase: str | None) -> float:
    stored = files.read_object(path, "temperature", "phase", "step")
    own = _weights(path.parent, phase)
    if any(stored[name] != value for name, value in own.items()):
        raise InputError(
            path,
            found=f"a temperature of the weights of {stored['phase']}, step {stored['step']}",
            expected=f"one of {own['phase']}, step {own['step']}, which predict",
            fix=_AGAIN,
        )
    if not is_number(stored["temperature"]) or stored["temperature"] <= 0:
        raise InputError(path, found=repr(stored["temperature"]), expected="a number > 0", fix=_AGAIN)
    return float(stored["temperature"])


def _weights(workdir: Path, phase: str | None) -> dict[str, Any]:
    """Which weights `load_best` reads."""
    phase = best_phase(workdir, phase)
    return {"phase": phase, "step": max(steps(phase_folder(workdir, phase) / "best"))}
