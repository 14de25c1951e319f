"""A run with a time budget: each phase goes through its whole schedule in the time that it has.

Everything counts from the process' start, including reading, compiling, validating and saving. The learning
rate of a step follows from the time at which it begins, so that a machine that slows down or speeds up makes
fewer or more steps along the same schedule. The validation at the end has its time kept: as much as was
expected of it at the start, or as another one has taken. No two runs take the same times, so none are equal
bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.runtime.clock import seconds_since_start
from dsdenseunet.training import phases

# Share of all the time that is kept for the end, where the validation there takes no longer.
_RESERVE = 0.02


class Budget:
    """The place of one phase in its schedule, by time.

    Attributes:
        position: in steps of the config, of which the phase has `total`: where its schedule stands.
    """

    def __init__(
        self,
        config: ConfigDict,
        name: str,
        used: float = 0.0,
        position: float = 0.0,
        clock: Callable[[], float] = seconds_since_start,
    ):
        """A phase's, at its start or after a resume.

        Args:
            config: its `training.budget_seconds` are for all phases that are selected; each has the share of
                them that its epochs are of what is still to be done.
            name: of the phase.
            used: seconds that earlier starts took, as far as they were saved.
            position: where the earlier starts left the schedule.
            clock: seconds of this start.
        """
        epoch, order = config.training.steps_per_epoch, phases.selected(config)
        self.total = epoch * int(config.phases[name].epochs)
        self.position = position
        self._used, self._clock = used, clock
        later = epoch * sum(config.phases[one].epochs for one in order[order.index(name) + 1 :])
        own, now = self.total - position, self.seconds
        whole = config.training.budget_seconds
        self._end = now + (whole - now) * own / max(own + later, 1)
        self._least, self._shortest = _RESERVE * whole, math.inf
        # When the second step began, and where the schedule stood.
        self._first: tuple[float, float] | None = None
        self._steps = 0

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken, in all its starts."""
        return self._used + self._clock()

    @property
    def _reserve(self) -> float:
        return max(self._least, 0.0 if math.isinf(self._shortest) else self._shortest)

    @property
    def _pace(self) -> float:
        """Seconds of a step."""
        return (self.seconds - self._first[0]) / (self._steps - 1) if self._first and self._steps > 1 else 0.0

    def validated(self, seconds: float) -> None:
        """Keeps as much time for the validation at the end as the shortest of those that are told of."""
        self._shortest = min(self._shortest, seconds)

    def step(self) -> float:
        """Where the schedule stands for the step that begins now.

        The first one compiles: the time that is left after it is what the rest of the schedule is fitted to.
        """
        now = self.seconds
        if self._steps == 1:
            self._first = now, self.position
        if self._first is not None:
            began, position = self._first
            share = (now - began) / max(self._end - self._reserve - began, 1e-9)
            # What is kept for the end can become less: the schedule waits then, and never goes back.
            self.position = max(self.position, min(position + (self.total - position) * share, self.total))
        self._steps += 1
        return self.position

    def over(self) -> bool:
        """Whether there is no time for another step; then the schedule is complete."""
        late = self.seconds + self._pace > self._end - self._reserve
        if late and self._steps:
            self.position = float(self.total)
        return self.position >= self.total

    def spent(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"seconds": self.seconds, "position": self.position}
