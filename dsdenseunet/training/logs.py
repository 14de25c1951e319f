"""The logs of a run: terminal, metrics.jsonl and the sinks that the config names."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from tqdm import tqdm

from dsdenseunet.core import files
from dsdenseunet.tasks.task import Region
from dsdenseunet.training import sinks
from dsdenseunet.training.settings import flatten

METRICS_FILE = "metrics.jsonl"
_SECONDS_BETWEEN_LINES = 60


@dataclasses.dataclass
class Timed:
    """How long something took."""

    seconds: float = 0.0


class RunLog:
    """Log of one phase. On processes other than the first it does nothing.

    Opening it at a resume drops the lines that come after the checkpoint, so that no step is ever logged
    twice.
    """

    def __init__(
        self,
        workdir: Path,
        phase: str,
        config: ConfigDict,
        start_step: int,
        validated_step: int,
        total_steps: int | None,
        active: bool,
    ):
        self._phase = phase
        self._active = active
        self._memory: dict[str, int] = {}
        self._opened = time.monotonic()
        self._validating = 0.0
        if not active:
            return
        path = workdir / METRICS_FILE
        keep_lines_until(path, phase, start_step, validated_step)
        self._lines = path.open("a", encoding="utf-8")
        origin = sinks.Origin(workdir, phase, start_step, flatten(config.to_dict()))
        self._sinks = sinks.open_all(config.training.log_to, origin, self.say)
        self._bar = tqdm(
            total=total_steps,
            initial=start_step,
            desc=phase,
            unit="step",
            dynamic_ncols=True,
            disable=None,
        )
        self._next_line = 0.0

    def step(
        self,
        epoch: int,
        step: int,
        metrics: Mapping[str, float],
        steps_per_second: float,
        memory: Mapping[str, int] | None = None,
    ) -> None:
        """Records one training step; `metrics` are its scalars.

        `memory`, the device's (`peak_bytes` and what to compare it with), is written where it has changed.
        """
        if not self._active:
            return
        record: dict[str, Any] = {"phase": self._phase, "epoch": epoch, "step": step, **metrics}
        # Four digits: slow steps, such as the first, must not become 0.0.
        record["steps_per_second"] = float(f"{steps_per_second:.4g}")
        if memory and memory != self._memory:
            record["memory"] = self._memory = dict(memory)
        self._write(record)
        self._send("train", metrics, step)
        dice = ", ".join(f"{name[:-5]} {value:.3f}" for name, value in metrics.items() if "_dice" in name)
        shown = f"loss {metrics['loss']:.4f}, {dice}"
        if not self._bar.disable:
            self._bar.set_postfix_str(shown, refresh=False)
            self._bar.update(step - self._bar.n)
        elif time.monotonic() >= self._next_line:
            # Without a terminal there is no bar; a log gets a whole line every so often.
            self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
            of_all = f" of {self._bar.total}" if self._bar.total else ""
            self.say(f"{self._phase}, step {step}{of_all}: {shown}")

    @contextlib.contextmanager
    def time_of_validation(self) -> Iterator[Timed]:
        """Counts the time of a block as time spent on validation."""
        began, timed = time.monotonic(), Timed()
        try:
            yield timed
        finally:
            timed.seconds = time.monotonic() - began
            self._validating += timed.seconds

    def validation_time(self) -> str:
        """How long validations have taken since this start, and what share of the time that is."""
        share = self._validating / max(time.monotonic() - self._opened, 1e-9)
        return f"validation took {self._validating:.1f} s, {share:.0%} of the time since this start"

    def validation(self, epoch: int, step: int, scores: Mapping[str, float], best: bool) -> None:
        """Records one validation that chooses the best weights."""
        self._scores("validation", epoch, step, scores, " (best so far)" if best else "")

    def volumes(
        self, epoch: int, step: int, scores: Mapping[str, float], best_epoch: int, cases: Sequence[str]
    ) -> None:
        """Records what whole cases say, at the phase's end, of the best weights, those of `best_epoch`."""
        note = f" (weights of epoch {best_epoch} on {', '.join(cases)})"
        self._scores("volumes", epoch, step, scores, note)

    def _scores(self, kind: str, epoch: int, step: int, scores: Mapping[str, float], note: str) -> None:
        if not self._active:
            return
        self._write({"phase": self._phase, "epoch": epoch, "step": step, kind: dict(scores)})
        self._send(kind, scores, step)
        shown = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in scores.items())
        self.say(f"{self._phase}, epoch {epoch}: {kind} {shown}{note}; {self.validation_time()}")

    def say(self, message: str) -> None:
        """Prints a line above the progress bar."""
        if self._active:
            tqdm.write(message)

    def close(self) -> None:
        """Flushes and closes."""
        if self._active:
            self._bar.close()
            for sink in self._sinks:
                sink.close()
            self._lines.close()

    def _send(self, kind: str, values: Mapping[str, float], step: int) -> None:
        for sink in self._sinks:
            sink.log({f"{kind}/{name}": value for name, value in values.items()}, step)

    def _write(self, record: Mapping[str, Any]) -> None:
        # Every line is flushed at once: a killed process loses none.
        self._lines.write(json.dumps(record, allow_nan=False) + "\n")
        self._lines.flush()


def keep_lines_until(path: Path, phase: str, step: int, validated_step: int) -> None:
    """Rewrites metrics.jsonl without what comes after a checkpoint, or is cut off in mid-line.

    Training lines of `phase` stay up to `step`, validation lines up to `validated_step`, and other phases'
    lines as they are. Before schema 3 a phase was its number.
    """
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if not isinstance(record, dict) or not isinstance(record.get("step"), int) or "phase" not in record:
            continue
        limit = validated_step if "validation" in record or "volumes" in record else step
        if record["phase"] not in (phase, _number(phase)) or record["step"] <= limit:
            kept.append(line)
    files.write_text(path, "".join(line + "\n" for line in kept))


def _number(phase: str) -> int | None:
    return {"phase1": 1, "phase2": 2}.get(phase)


def scalars(metrics: Mapping[str, Any], regions: Sequence[Region]) -> dict[str, float]:
    """A step's metrics as Python floats, each region's Dice under its own name; waits for the device."""
    return {
        "loss": float(metrics["loss"]),
        **{
            f"{region.name}_dice": float(value)
            for region, value in zip(regions, metrics["dice"], strict=True)
        },
        "grad_norm": float(metrics["grad_norm"]),
        "learning_rate": float(metrics["learning_rate"]),
    }
