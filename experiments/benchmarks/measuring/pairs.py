"""Alternating measurements and what they say: ratios of neighbours, so that a changing load cancels."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.benchmarks.measuring.worker import Sample, Worker

# Short calls are timed many at a time, so that the clock and the way to the process do not count.
_SAMPLE_S = 0.2
_MOST_CALLS = 2000


@dataclasses.dataclass(frozen=True)
class Spread:
    """Median and extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(self.low)}-{_short(self.high)})"

    def as_json(self) -> dict[str, float]:
        """Rounded to five digits."""
        return {name: float(f"{value:.5g}") for name, value in dataclasses.asdict(self).items()}


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


@dataclasses.dataclass(frozen=True)
class Alternation:
    """Samples of each contender, one a round, taken in turn."""

    samples: dict[str, list[Sample]]

    def seconds(self, name: str, clock: str = "wall_s") -> Spread:
        """Of one call; `clock` is wall_s or cpu_s."""
        return Spread.of([getattr(sample, clock) for sample in self.samples[name]])

    def ratio(self, name: str, to: str, clock: str = "wall_s") -> Spread:
        """Of `name`'s seconds to those of `to` in the same round."""
        pairs = zip(self.samples[name], self.samples[to], strict=True)
        return Spread.of([getattr(a, clock) / getattr(b, clock) for a, b in pairs])

    def best(self, names: list[str]) -> str:
        """The one with the least median seconds on the clock."""
        return min(names, key=lambda name: self.seconds(name).median)

    def as_json(self) -> dict[str, Any]:
        """Spreads of both clocks and every sample."""
        return {
            name: {
                "wall_s": self.seconds(name).as_json(),
                "cpu_s": self.seconds(name, "cpu_s").as_json(),
                "samples_wall_s": [float(f"{sample.wall_s:.5g}") for sample in samples],
            }
            for name, samples in self.samples.items()
        }


def alternate(
    workers: Mapping[str, Worker], rounds: int, sample_s: float = _SAMPLE_S, untimed_calls: int = 0
) -> Alternation:
    """A B C A B C ...: each worker's task for about `sample_s` seconds, at least once, in every round.

    Args:
        workers: by the names of the sides.
        rounds: samples of each.
        sample_s: seconds of a sample.
        untimed_calls: before each sample. In a run a step follows a step; a process that was idle pays for
            what the system took from it meanwhile: virtual machines give freed memory back to their host
            within seconds.
    """
    calls = {}
    for name, worker in workers.items():
        once = worker.sample().wall_s
        calls[name] = max(1, min(_MOST_CALLS, round(sample_s / max(once, 1e-7))))
    samples: dict[str, list[Sample]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            if untimed_calls:
                worker.sample(untimed_calls)
            samples[name].append(worker.sample(calls[name]))
    return Alternation(samples)


def difference(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> dict[str, float]:
    """For each output the largest difference, as a share of the largest value."""
    if ours.keys() != theirs.keys():
        raise ValueError(f"outputs {sorted(ours)} against {sorted(theirs)}")
    result = {}
    for name, value in ours.items():
        if value.shape != theirs[name].shape:
            raise ValueError(f"{name}: shape {value.shape} against {theirs[name].shape}")
        result[name] = float(np.abs(value - theirs[name]).max() / max(np.abs(theirs[name]).max(), 1e-30))
    return result
