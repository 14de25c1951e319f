"""Where a run's numbers go besides metrics.jsonl: TensorBoard, Weights & Biases, MLflow.

A sink is opened for each phase, and another one is a class here and a line in `SERVICES`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import json
import queue
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dsdenseunet.core.errors import InputError
from dsdenseunet.training import provenance

# How long the end of a phase waits for a service that is slow.
_PATIENCE_S = 60


class Sink(Protocol):
    """Takes a phase's numbers."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Takes the values of a step, "train/loss" and so on; steps never fall."""

    def close(self) -> None:
        """Sends what is left."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a sink's numbers are of.

    Attributes:
        workdir: the run's folder.
        phase: its name.
        start_step: that this start goes on from.
        config: of the phase, its fields by their dotted names.
    """

    workdir: Path
    phase: str
    start_step: int
    config: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The same for every start of a phase, wherever its folder is, and another's never."""
        first = provenance.read_starts(self.workdir)[:1]
        return hashlib.sha256(json.dumps([first, self.phase]).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """For the reader."""
        return f"{self.workdir.name}/{self.phase}"


class TensorBoard:
    """Files in the run's folder; what comes after the checkpoint of a resume is dropped from them."""

    def __init__(self, origin: Origin):
        self._writer = _summary_writer()(
            str(origin.workdir / "tensorboard" / origin.phase),
            purge_step=origin.start_step + 1,
            flush_secs=30,
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `Sink`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """See `Sink`."""
        # It only repeats metrics.jsonl: what it could not write is no reason to fail here.
        with contextlib.suppress(OSError):
            self._writer.close()


class WeightsAndBiases:
    """A run of wandb for each phase, in a group for all; its environment variables say where to.

    Where its server cannot be reached, or no account is set up, it writes to the run's folder only, for
    `wandb sync`.
    """

    def __init__(self, origin: Origin):
        import wandb

        arguments = {
            "id": origin.id,
            "name": origin.name,
            "group": origin.workdir.name,
            "dir": str(origin.workdir),
            "config": dict(origin.config),
            "resume": "allow",
            # Of the terminal there is a log already.
            "settings": wandb.Settings(console="off"),
        }
        try:
            self._run = wandb.init(**arguments)
        except wandb.Error:
            self._run = wandb.init(**arguments, mode="offline")
        # The server keeps what it has: these steps are not sent again.
        self._next = self._run.step

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `Sink`."""
        if step >= self._next:
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        """See `Sink`."""
        self._run.finish()


class MLflow:
    """A run of MLflow for each phase; its environment variables say where to, and in which experiment."""

    _TAG = "dsdenseunet.id"

    def __init__(self, origin: Origin):
        import mlflow

        self._mlflow = mlflow
        earlier = mlflow.search_runs(
            filter_string=f"tags.`{self._TAG}` = '{origin.id}'", max_results=1, output_format="list"
        )
        run_id = earlier[0].info.run_id if earlier else None
        mlflow.start_run(run_id, run_name=origin.name, tags={self._TAG: origin.id})
        self._after = -1
        if run_id is None:
            # Longer values are refused; config.json in the run's folder has them whole.
            mlflow.log_params({name: str(value)[:500] for name, value in origin.config.items()})
        else:
            known = mlflow.MlflowClient().get_metric_history(run_id, "train/loss")
            self._after = max((metric.step for metric in known), default=-1)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `Sink`."""
        if step > self._after:
            self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        """See `Sink`."""
        self._mlflow.end_run()


# By their names in config.training.log_to; a service's is its package's and that of our extra, too.
LOCAL: Mapping[str, Callable[[Origin], Sink]] = {"tensorboard": TensorBoard}
SERVICES: Mapping[str, Callable[[Origin], Sink]] = {"wandb": WeightsAndBiases, "mlflow": MLflow}
NAMES = (*LOCAL, *SERVICES)


class InBackground:
    """A sink in a thread of its own: no training waits for a service or ends with it.

    Args:
        name: for messages.
        open_sink: called in the thread, where it may take its time or fail.
        say: prints a line; called once if anything fails.
    """

    def __init__(self, name: str, open_sink: Callable[[], Sink], say: Callable[[str], None]):
        self._name, self._open, self._say = name, open_sink, say
        self._values: queue.SimpleQueue[tuple[dict[str, float], int] | None] = queue.SimpleQueue()
        self._failed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `Sink`; returns at once."""
        if not self._failed:
            self._values.put((dict(values), step))

    def close(self) -> None:
        """See `Sink`; gives up after a minute."""
        self._values.put(None)
        self._thread.join(_PATIENCE_S)
        if self._thread.is_alive():
            self._say(f"warning: {self._name} has not taken everything within {_PATIENCE_S} s")

    def _work(self) -> None:
        try:
            sink = self._open()
            while (item := self._values.get()) is not None:
                sink.log(*item)
            sink.close()
        except Exception as error:  # whatever a service's package may raise
            self._failed = True
            reason = " ".join(str(error).split()) or type(error).__name__
            self._say(f"warning: nothing more goes to {self._name}: {reason}; metrics.jsonl has everything")


def check_installed(names: Sequence[str]) -> None:
    """Checks that the package of each sink is there.

    Raises:
        InputError: one is not.
    """
    for name in SERVICES:
        if name in names and importlib.util.find_spec(name) is None:
            raise InputError(
                "config.training.log_to",
                found=f"{name}, which is not installed",
                expected="sinks whose packages are installed",
                fix=f"pip install '.[{name}]', or leave {name} out of --config.training.log_to",
            )


def open_all(names: Sequence[str], origin: Origin, say: Callable[[str], None]) -> list[Sink]:
    """The sinks of these names: those of services each in the background."""
    local: list[Sink] = [LOCAL[name](origin) for name in names if name in LOCAL]
    services = [name for name in names if name in SERVICES]
    return local + [InBackground(name, functools.partial(SERVICES[name], origin), say) for name in services]


def _summary_writer() -> Any:
    """TensorBoard's writer, without PyTorch.

    tensorboardX imports PyTorch wherever it is installed, only to take its tensors: seconds of every
    start and hundreds of megabytes.
    """
    absent = "torch" not in sys.modules
    if absent:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        from tensorboardX import SummaryWriter
    finally:
        if absent:
            del sys.modules["torch"]
    return SummaryWriter
