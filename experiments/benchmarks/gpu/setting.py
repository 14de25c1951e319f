"""What all parts of the GPU benchmark share: the config, how much is done, where results go."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from experiments.benchmarks.gpu import record
from experiments.benchmarks.measuring.worker import Peak, Task, Worker

Size = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Amounts:
    """How much of each thing is done; the defaults fill an H100.

    Attributes:
        matrix: side of the square matrices whose product gives the rate of multiplications.
        copied_gib: size of the array whose copy gives the rate of the memory.
        repeats: passes of a convolution in one call.
        batches: patches at once, of networks.
        dtypes: `config.model.dtype`, of networks and convolutions.
        typical_batch: of the comparisons that are made at one batch size only.
        volume: the scan that is segmented, voxels (D, H, W).
        volume_batches: patches through the network at once, each number tried.
        block_steps: training steps between two readings of the clock.
        blocks: how many such blocks are timed.
        phantoms: size of the scans that training reads, voxels (D, H, W).
        remats: of the settings whose peak of memory is predicted and measured.
        planned_batches: of the settings whose peak of memory is predicted and measured.
        allocator_bytes: what each of those may use.
        shapes: how many of the network's depthwise convolutions are looked at.
        forms: of depthwise convolutions, each measured alone.
        step_forms: depthwise convolutions' forms that whole steps are run with.
        small_model: fields of `config.model` of the network whose steps are compared with the CPU's.
        small_patch: its patch, voxels (D, H, W).
        flag_sets: how many of the sets of XLA's flags are tried.
        rounds: how often sides take turns.
        patience: how many times its limit a part may take.
        compilers: processes that compile beside everything else.
    """

    matrix: int = 8192
    copied_gib: float = 2.0
    repeats: int = 50
    batches: tuple[int, ...] = (1, 2, 4, 8)
    dtypes: tuple[str, ...] = ("bfloat16", "float32")
    typical_batch: int = 4
    volume: Size = (400, 512, 512)
    volume_batches: tuple[int, ...] = (4, 16)
    block_steps: int = 100
    blocks: int = 5
    phantoms: Size = (64, 512, 512)
    remats: tuple[str, ...] = ("none", "layer")
    planned_batches: tuple[int, ...] = (1, 4, 8)
    allocator_bytes: int = 8 * 10**9
    shapes: int = 100
    forms: tuple[str, ...] = ("shifted", "grouped", "pallas")
    step_forms: tuple[str, ...] = ("shifted", "pallas")
    small_model: tuple[tuple[str, Any], ...] = (
        ("block_layers", (2, 2)),
        ("decoder_channels", (32, 24, 16)),
    )
    small_patch: Size = (4, 64, 64)
    flag_sets: int = 20
    rounds: int = 5
    patience: float = 1.0
    compilers: int = 7


class Program(NamedTuple):
    """Something to compile before it is measured: the process that makes this task once fills the cache.

    Attributes:
        name: under which `Setting.wait_for` knows it.
        make_task: picklable.
        environment: variables of the process, on top of this one's.
    """

    name: str
    make_task: Callable[[], Task]
    environment: Mapping[str, str] = {}


@dataclasses.dataclass(frozen=True)
class Setting:
    """Of one run; every process of it reads it from a file.

    Attributes:
        config: a resolved config as plain values.
        amounts: how much of each thing is done.
        peer: whether PyTorch stands beside.
        results: file that each result is added to.
        folder: for what is only needed while the run lasts.
        round: 1: what is most worth knowing; 2: the rest.
        ends: seconds since the epoch at which the part must be over.
    """

    config: Mapping[str, Any]
    amounts: Amounts
    peer: bool
    results: Path
    folder: Path
    round: int = 1
    ends: float = float("inf")

    def save(self, path: Path) -> None:
        """For the other processes."""
        path.write_bytes(pickle.dumps(self))

    @classmethod
    def load(cls, path: Path) -> Setting:
        """What `save` wrote."""
        return pickle.loads(path.read_bytes())

    def with_model(self, batch_size: int | None = None, **model: Any) -> dict[str, Any]:
        """The config with other fields of `model`, and another batch."""
        data = dict(self.config["data"])
        if batch_size is not None:
            data["batch_size"] = batch_size
        return {**self.config, "model": {**self.config["model"], **model}, "data": data}

    def weights(self, separable: bool) -> Path:
        """The folder for the weights of the DS or of the standard network; parts share them."""
        return self.folder / ("weights_ds" if separable else "weights_standard")

    def left_s(self) -> float:
        """Seconds until the end."""
        return self.ends - time.time()

    def known(self, part: str) -> set[str]:
        """Cases of a part that an earlier process has measured."""
        return {result["case"] for result in record.read(self.results) if result["part"] == part}

    def say(self, line: str) -> None:
        """Prints it at once."""
        print(line, flush=True)

    def wait_for(self, *names: str) -> None:
        """Until programs are compiled, the compiling process has ended, or time is up."""
        while (
            self.left_s() > 0 and self.compiling() and not all(self.marker(name).exists() for name in names)
        ):
            time.sleep(0.1)

    def marker(self, name: str) -> Path:
        """The file that says that a program is compiled."""
        return self.folder / "compiled" / name.replace("/", "_")

    @property
    def compiling_id(self) -> Path:
        """The file that holds the id of the compiling process' group while it runs."""
        return self.folder / "compiling"

    def compiling(self) -> bool:
        """Whether programs are being compiled beside this."""
        return self.compiling_id.exists()

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Stops the compiling process for a while, so that nothing else runs while something is timed."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        # It may end at any time.
        with contextlib.suppress(OSError, ValueError):
            os.killpg(int(self.compiling_id.read_text(encoding="ascii")), number)


def device_peak_gib(outputs: dict[str, Any], worker: Worker) -> float:
    """Most GPU memory that a worker's task had in use, as its allocator counts; on CPUs of the process."""
    counted = outputs.pop("device_peak_gib", None)
    peak: Peak = worker.peak_gib()
    return round(float(peak.running if counted is None else counted), 3)


def load_all(
    workers: Mapping[str, Worker],
    tasks: Mapping[str, Callable[[], Any]],
    limit_s: float | None,
    warm_up: int = 1,
) -> tuple[dict[str, float], dict[str, str]]:
    """Seconds until each worker was ready, all at once as they mostly compile; and why others failed."""

    def load(name: str) -> float:
        start = time.perf_counter()
        workers[name].load(tasks[name], warm_up, limit_s)
        return round(time.perf_counter() - start, 2)

    loaded, failed = {}, {}
    with ThreadPoolExecutor(len(tasks)) as threads:
        futures = {name: threads.submit(load, name) for name in tasks}
        for name, future in futures.items():
            try:
                loaded[name] = future.result()
            except RuntimeError as error:
                failed[name] = str(error)[-2000:]
    return loaded, failed
