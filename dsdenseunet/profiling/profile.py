"""A profile in numbers and as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from dsdenseunet.profiling.floor import Speed
from dsdenseunet.profiling.trace import Trace
from dsdenseunet.training.tracing import DISPATCH, INPUT


@dataclasses.dataclass(frozen=True)
class Operation:
    """One of the compiled program.

    Attributes:
        name: in the program and in the trace.
        stage: of the network.
        backward: whether it computes gradients.
        seconds: in all traced steps.
        bytes: read and written in all of them.
    """

    name: str
    stage: str
    backward: bool
    seconds: float
    bytes: int


@dataclasses.dataclass(frozen=True)
class Profile:
    """Where the time of some steps has gone.

    Attributes:
        trace: their times.
        operations: of the training step.
        arithmetic: multiplications and additions of one step on one device.
        speed: what the device reaches.
    """

    trace: Trace
    operations: Sequence[Operation]
    arithmetic: float
    speed: Speed

    @property
    def floors_ms(self) -> tuple[float, float]:
        """Of a step: for what it moves, for what it computes."""
        moved = sum(operation.bytes for operation in self.operations) / self.trace.steps
        return 1e3 * moved / self.speed.bytes_a_s, 1e3 * self.arithmetic / self.speed.operations_a_s

    def as_json(self) -> dict[str, Any]:
        """All numbers, as plain values."""
        values = dataclasses.asdict(self)
        moved, computed = self.floors_ms
        return {**values, "floor_ms": {"moved": moved, "computed": computed}}

    def text(self, top: int = 15) -> str:
        """Tables for the terminal; all times are of one step."""
        steps, trace = self.trace.steps, self.trace
        wall, busy = (1e3 * seconds / steps for seconds in (trace.wall_s, trace.busy_s))
        moved, computed = self.floors_ms
        by_time = sorted(self.operations, key=lambda one: -one.seconds)[:top]
        by_bytes = sorted(self.operations, key=lambda one: -one.bytes)[:top]
        stalls = (f"{name} {1e3 * trace.host_s[name] / steps:.1f} ms" for name in (INPUT, DISPATCH))
        return "\n".join(
            [
                f"a step takes {wall:.1f} ms, mean of {steps}",
                f"  the device works {busy:.1f} ms and waits for the host {max(0.0, wall - busy):.1f} ms, "
                f"{max(0.0, 1 - busy / wall):.0%}; of the host's time: {', '.join(stalls)}",
                f"  floor: {max(moved, computed):.1f} ms, the larger of {moved:.1f} ms for what is read and "
                f"written at {self.speed.bytes_a_s / 1e9:.1f} GB/s and {computed:.1f} ms for the arithmetic "
                f"at {self.speed.operations_a_s / 1e9:.0f} billion operations a second, both measured here",
                "",
                *_table(
                    "stage", [_summed(stage, self.operations) for stage in _stages(self.operations)], self
                ),
                "",
                *_table(f"the {len(by_time)} operations that take longest", by_time, self),
                "",
                *_table(f"the {len(by_bytes)} that move most", by_bytes, self),
            ]
        )


def _stages(operations: Iterable[Operation]) -> list[tuple[str, bool]]:
    """Stage and direction, those that take longest first."""
    seconds: dict[tuple[str, bool], float] = {}
    for one in operations:
        key = one.stage, one.backward
        seconds[key] = seconds.get(key, 0.0) + one.seconds
    return sorted(seconds, key=lambda key: -seconds[key])


def _summed(key: tuple[str, bool], operations: Iterable[Operation]) -> Operation:
    own = [one for one in operations if (one.stage, one.backward) == key]
    return Operation("", *key, sum(one.seconds for one in own), sum(one.bytes for one in own))


def _table(title: str, rows: Sequence[Operation], profile: Profile) -> list[str]:
    steps, whole = profile.trace.steps, sum(one.seconds for one in profile.operations)
    lines = [f"{title:<52}{'ms':>9}{'share':>8}{'MB':>10}{'floor, ms':>11}"]
    for one in rows:
        name = f"{one.stage}{', backward' if one.backward else ''}"
        name = f"{name}: {one.name}" if one.name else name
        floor = 1e3 * one.bytes / steps / profile.speed.bytes_a_s
        lines.append(
            f"{name[:51]:<52}{1e3 * one.seconds / steps:>9.2f}{one.seconds / whole:>8.1%}"
            f"{one.bytes / steps / 1e6:>10.2f}{floor:>11.2f}"
        )
    return lines
