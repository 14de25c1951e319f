"""How a run ends when its numbers are no longer finite, and what it leaves for inspection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dsdenseunet.core import files
from dsdenseunet.training.state import TrainState, state_arrays


class NonFiniteLossError(RuntimeError):
    """The loss, the gradient, or the network's output for a validation case became NaN or infinite."""


def lower_rate(rate: float) -> str:
    """What to do where `rate` was too high; a run that has begun cannot change it."""
    return (
        f"train in a new --workdir with a lower rate, such as --config.optimizer.learning_rate={rate / 10:g}"
    )


def stop_on_non_finite(
    state: TrainState,
    batch: Mapping[str, np.ndarray],
    cases: Sequence[str],
    metrics: Mapping[str, float],
    workdir: Path,
    phase: str,
    step: int,
) -> NonFiniteLossError:
    """Writes the state before the step and its batch to `workdir/failure/`; returns the error to raise.

    Args:
      state: the unhealthy state; its arrays are those before the step.
      batch: the step's batch, host arrays.
      cases: names of the cases that the batch was drawn from.
      metrics: the step's scalars.
      workdir: the run's folder.
      phase: its name.
      step: number of the step that failed, counted from 1.
    """
    folder = workdir / "failure"
    where = f"{phase}, step {step}"
    summary = ", ".join(f"{name} {value}" for name, value in metrics.items())
    arrays = _named_arrays(state_arrays(state))
    report = {
        "phase": phase,
        "step": step,
        "cases": list(cases),
        "metrics": {name: str(value) for name, value in metrics.items()},
        "non_finite_in_state": [name for name, array in arrays.items() if not _finite(array)],
        "non_finite_in_batch": [name for name, array in batch.items() if not _finite(array)],
    }
    try:
        for name, content in (("state", arrays), ("batch", dict(batch))):
            with files.atomic_path(folder / f"{name}.npz") as path, path.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **content)
        files.write_json(folder / "report.json", report)
        dumped = f"the state before that step and the batch are in {folder}"
    except OSError as error:
        dumped = f"state and batch could not be written to {folder}: {error}"
    return NonFiniteLossError(
        f"{where}: loss or gradient is not finite ({summary})\n"
        f"  cases:  {', '.join(cases)}\n"
        f"  dump:   {dumped}\n"
        f"  to do:  look for bad voxels in these cases, or {lower_rate(metrics['learning_rate'])}; the same "
        "command goes back to the last checkpoint and meets the same batch"
    )


def _named_arrays(tree: Any) -> dict[str, np.ndarray]:
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in flat}


def _finite(array: np.ndarray) -> bool:
    return not np.issubdtype(array.dtype, np.floating) or bool(np.isfinite(array).all())
