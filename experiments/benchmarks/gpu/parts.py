"""The parts of the GPU benchmark, the most important first; each is imported only where it runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

from experiments.benchmarks.gpu.setting import Program, Setting


class Part(NamedTuple):
    """A part of the benchmark.

    Attributes:
        module: of this folder: `measure(setting)` yields results, plain values with a `case` each, and leaves
            out the cases that are known; `programs(setting)`, where there is one, says what to compile.
        expected_s: seconds of the first round on an H100 with 16 processor cores, compilation beside it
            included; an estimate from processor times of the compiler without a card.
        limit_s: seconds after which it is ended; what it has measured until then stays.
        more: whether there are cases that only the second round measures.
        needs: packages without which it is left out.
    """

    module: str
    expected_s: int
    limit_s: int
    more: bool = False
    needs: tuple[str, ...] = ()

    def _imported(self) -> Any:
        return importlib.import_module(f"experiments.benchmarks.gpu.{self.module}")

    @property
    def measure(self) -> Callable[[Setting], Iterator[dict[str, Any]]]:
        """The module's function; importing it may import JAX."""
        return self._imported().measure

    def programs(self, setting: Setting) -> list[Program]:
        """What it measures of ours, in the order in which it does."""
        return getattr(self._imported(), "programs", lambda _: [])(setting)

    def missing(self) -> list[str]:
        """Packages that it needs and that this Python does not have."""
        return [name for name in self.needs if find_spec(name) is None]


PARTS = {
    "rates": Part("rates", 20, 60),
    "equality": Part("equality", 40, 90),
    "networks": Part("networks", 185, 210),
    "depthwise": Part("depthwise", 90, 100, more=True),
    "volume": Part("volume", 30, 60),
    "compiled": Part("compiled_peer", 60, 120, more=True, needs=("torch",)),
    "schedule": Part("schedule", 40, 60, more=True, needs=("grain", "nibabel", "tqdm")),
    "memory": Part("memory", 45, 90),
    "determinism": Part("determinism", 25, 50),
    "flags": Part("xla_flags", 35, 90),
}
