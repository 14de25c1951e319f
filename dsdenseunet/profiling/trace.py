"""What a trace of the profiler says: how long each operation ran, and when the device had nothing to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from jax.profiler import ProfileData

from dsdenseunet.training.tracing import DISPATCH, INPUT, RESULT, STEP


@dataclasses.dataclass(frozen=True)
class Span:
    """Something that took time, in nanoseconds of the trace."""

    name: str
    start: float
    end: float


@dataclasses.dataclass(frozen=True)
class Trace:
    """The times of some steps, in seconds for all of them together.

    Attributes:
        steps: how many there are.
        wall_s: from the first one's start to the end of what the last one asked for.
        busy_s: of it, when some operation ran.
        run_s: of each operation by name, without what ran inside it; added up over threads or streams.
        runs: how often each operation ran.
        host_s: by `tracing.INPUT`, `DISPATCH` and `RESULT`: how long the host was in each.
    """

    steps: int
    wall_s: float
    busy_s: float
    run_s: Mapping[str, float]
    runs: Mapping[str, int]
    host_s: Mapping[str, float]


def read(folder: Path, module: str) -> Trace:
    """The newest trace that `jax.profiler.trace(folder)` has written.

    Args:
        folder: of the trace.
        module: the compiled program's name, such as "jit_train_step"; other programs count as busy only.
    """
    newest = max(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    marks: list[Span] = []
    run_s: dict[str, float] = {}
    runs: dict[str, int] = {}
    busy: list[Span] = []
    for plane in ProfileData.from_file(str(newest)).planes:
        for line in plane.lines:
            own = []
            for event in line.events:
                span = Span(event.name, event.start_ns, event.start_ns + event.duration_ns)
                if event.name in (STEP, INPUT, DISPATCH, RESULT):
                    marks.append(span)
                elif event.duration_ns and "hlo_op" in (stats := dict(event.stats)):
                    busy.append(span)
                    if stats.get("hlo_module") == module:
                        own.append(dataclasses.replace(span, name=str(stats["hlo_op"])))
            for name, seconds in self_times(own):
                run_s[name] = run_s.get(name, 0.0) + seconds
                runs[name] = runs.get(name, 0) + 1
    steps = [mark for mark in marks if mark.name == STEP]
    start, end = min(mark.start for mark in steps), max(span.end for span in (*steps, *busy))
    host_s = {
        name: sum(mark.end - mark.start for mark in marks if mark.name == name) / 1e9
        for name in (INPUT, DISPATCH, RESULT)
    }
    within = [Span("", max(span.start, start), span.end) for span in busy if span.end > start]
    return Trace(len(steps), (end - start) / 1e9, covered(within) / 1e9, run_s, runs, host_s)


def self_times(spans: Iterable[Span]) -> list[tuple[str, float]]:
    """(name, seconds) of each span of one thread, without the spans that lie within it."""
    found: list[tuple[str, float]] = []
    open_: list[tuple[Span, int]] = []
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        while open_ and open_[-1][0].end <= span.start:
            open_.pop()
        seconds = (span.end - span.start) / 1e9
        if open_:
            outer = open_[-1][1]
            found[outer] = (found[outer][0], max(0.0, found[outer][1] - seconds))
        open_.append((span, len(found)))
        found.append((span.name, seconds))
    return found


def covered(spans: Iterable[Span]) -> float:
    """Nanoseconds that lie in at least one span."""
    total, reached = 0.0, -1.0
    for span in sorted(spans, key=lambda one: one.start):
        total += max(0.0, span.end - max(span.start, reached))
        reached = max(reached, span.end)
    return total
