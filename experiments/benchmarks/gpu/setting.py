"""What all parts of the GPU benchmark share."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from experiments.benchmarks.measuring.worker import Peak, Worker

Size = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Amounts:
    """How much of each thing is done; the defaults fill an H200.

    Attributes:
        matrix: side of the square matrices whose product gives the rate of multiplications.
        copied_gib: size of the array whose copy gives the rate of the memory.
        repeats: passes of a convolution in one call.
        volume: the scan that is segmented, voxels (D, H, W).
        volume_batches: patches through the network at once, each number tried.
        block_steps: training steps between two readings of the clock.
        phantoms: size of the scans that training reads, voxels (D, H, W).
    """

    matrix: int = 8192
    copied_gib: float = 2.0
    repeats: int = 100
    volume: Size = (400, 512, 512)
    volume_batches: tuple[int, ...] = (4, 16)
    block_steps: int = 200
    phantoms: Size = (64, 512, 512)


@dataclasses.dataclass(frozen=True)
class Setting:
    """Of one run.

    Attributes:
        config: a resolved config as plain values.
        amounts: how much of each thing is done.
        rounds: how often the sides take turns.
        ends: `time.monotonic()` at which the part must be over.
        peer: device of PyTorch's side, `cuda` or `cpu`; None without PyTorch.
        whole_schedule: run every step of the paper's schedule if the time allows.
        folder: for temporary files.
        say: told of each result as it comes.
    """

    config: Mapping[str, Any]
    amounts: Amounts
    rounds: int
    ends: float
    peer: str | None
    whole_schedule: bool
    folder: Path
    say: Callable[[str], None]

    def variant(self, separable: bool) -> dict[str, Any]:
        """The config with depthwise separable (DS) or full (standard) convolutions."""
        return {**self.config, "model": {**self.config["model"], "separable": separable}}

    def left_s(self) -> float:
        """Seconds until the end."""
        return self.ends - time.monotonic()


def device_peak_gib(outputs: dict[str, Any], worker: Worker) -> float:
    """Most GPU memory that a worker's task had in use, as its allocator counts; on CPUs of the process."""
    counted = outputs.pop("device_peak_gib", None)
    peak: Peak = worker.peak_gib()
    return round(float(peak.running if counted is None else counted), 3)


def load_all(
    workers: Mapping[str, Worker], tasks: Mapping[str, Callable[[], Any]], limit_s: float, warm_up: int = 1
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
