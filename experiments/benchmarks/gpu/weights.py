"""The weights that every side and every part starts from, written once a run."""

from __future__ import annotations

import contextlib
import functools

from experiments.benchmarks.gpu.setting import Setting, load_all
from experiments.benchmarks.measuring import jax_tasks
from experiments.benchmarks.measuring.worker import Worker

VARIANTS = {"DS": True, "standard": False}


def ensure(setting: Setting) -> None:
    """Writes both networks' weights where they are not there yet, in processes that leave the GPU alone.

    Raises:
        RuntimeError: they could not be written.
    """
    # The file that is written last says that they are whole.
    missing = {
        name: separable
        for name, separable in VARIANTS.items()
        if not (setting.weights(separable) / "peer.npz").exists()
    }
    if not missing:
        return
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name, {"JAX_PLATFORMS": "cpu"})) for name in missing}
        tasks = {
            name: functools.partial(
                jax_tasks.Weights,
                setting.with_model(separable=separable)["model"],
                setting.weights(separable),
            )
            for name, separable in missing.items()
        }
        _, failed = load_all(workers, tasks, setting.left_s(), warm_up=0)
    if failed:
        raise RuntimeError("\n".join(failed.values()))
