"""All parts one after the other within a given time, and the record of them."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from dsdenseunet import environment
from dsdenseunet.ops.depthwise_choice import Device
from dsdenseunet.training import provenance
from experiments.benchmarks.gpu import depthwise, networks, rates, roofline, schedule, volume
from experiments.benchmarks.gpu.determinism import determinism
from experiments.benchmarks.gpu.setting import Amounts, Setting
from experiments.benchmarks.measuring.targets import Target, judge


class Part(NamedTuple):
    """What is measured, and the seconds that it needs: parts before leave them, else it is left out."""

    measure: Callable[[Setting], Iterator[dict[str, Any]]]
    needs_s: float


def _determinism(setting: Setting) -> Iterator[dict[str, Any]]:
    found = determinism(setting.variant(True), setting.rounds, setting.say)
    yield {"part": "determinism", "case": "DS", **found}


PARTS = {
    "device": Part(rates.device, 20),
    "depthwise": Part(depthwise.depthwise, 60),
    "volume": Part(volume.volume, 40),
    "schedule": Part(schedule.schedule, 40),
    "step": Part(networks.step, 150),
    "inference": Part(networks.inference, 60),
    "determinism": Part(_determinism, 60),
}


def _of(part: str, *path: str) -> Callable[[dict[str, Any]], float | None]:
    def figure(result: dict[str, Any]) -> float | None:
        value: Any = result if result["part"] == part else None
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return None if value is None else float(value)

    return figure


TARGETS = (
    Target("training step, share of PyTorch's seconds", 1.0, _of("step", "ratio", "median")),
    Target("standard step, times the DS step", 2.0, _of("step", "standard_over_ds", "median"), at_least=True),
    Target("a scan of 512 x 512 x 400 segmented, seconds", 3.0, _of("volume", "scan_s", "median")),
    Target("the paper's schedule, extrapolated, seconds", 300, _of("schedule", "extrapolated_s")),
    Target("the paper's schedule, run, seconds", 300, _of("schedule", "whole_s")),
)


def run(
    config: Mapping[str, Any],
    names: Sequence[str],
    *,
    seconds: float,
    whole_schedule: bool,
    say: Callable[[str], None],
    save: Callable[[dict[str, Any]], None],
    rounds: int = 5,
    amounts: Amounts | None = None,
) -> None:
    """Measures the named parts; a part that fails or for which no time is left is noted and the next begun.

    Args:
        config: a resolved config as plain values; `model.separable` is set both ways.
        names: of `PARTS`.
        seconds: for all of them together.
        whole_schedule: run every step of the schedule if the time allows.
        say: told of each result as it comes, a line each.
        save: given, after each result, all that there is: `results`, `targets`, `provenance`.
        rounds: how often sides take turns.
        amounts: how much of each thing is done.
    """
    ends = time.monotonic() + seconds
    # Several processes share the GPU's memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    record = provenance.gather(dict(config), "noise and smooth shapes from seed 0; phantoms, seed 0")
    device = Device.present()
    record["hardware"]["compute_capability"] = device.capability and list(device.capability)
    peer = None
    if find_spec("torch") is not None:
        record["versions"]["torch"] = environment.installed_version("torch")
        peer = "cuda" if device.platform == "gpu" else "cpu"
    results: list[dict[str, Any]] = []

    def note(found: dict[str, Any]) -> None:
        results.append(_with_floor(config, found, results))
        record["load_at_end"] = os.getloadavg()
        save({"targets": judge(results, TARGETS), "results": results, "provenance": record})

    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(config, amounts or Amounts(), rounds, ends, peer, whole_schedule, Path(folder), say)
        for number, name in enumerate(names, start=1):
            start = time.monotonic()
            if setting.left_s() < PARTS[name].needs_s:
                say(f"{name}: left out, {setting.left_s():.0f} s are too few")
                note({"part": name, "case": "left out: no time", "left_s": round(setting.left_s(), 1)})
                continue
            later_s = sum(PARTS[later].needs_s for later in names[number:])
            part_ends = max(start + PARTS[name].needs_s, ends - later_s)
            try:
                for found in PARTS[name].measure(dataclasses.replace(setting, ends=part_ends)):
                    note(found)
            # Whatever it is: a GPU is not always at hand, and the other parts can still be measured.
            except Exception as error:
                text = f"{type(error).__name__}: {error}".strip()
                say(f"{name}: failed: {text.splitlines()[-1]}")
                note({"part": name, "case": "failed", "error": text[-4000:]})
            say(f"{name}: {time.monotonic() - start:.0f} s, {setting.left_s():.0f} s left")
    for target in judge(results, TARGETS):
        word = "met   " if target["met"] else "MISSED"
        say(f"{word} {target['target']}; measured {target['measured']} ({target['case']})")


def _with_floor(
    config: Mapping[str, Any], found: dict[str, Any], results: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """With the least time by the rates that were measured before, and how many times that it took."""
    measured = roofline.measured_rates(results)
    if measured is None or "seconds" not in found or found["part"] not in ("step", "inference"):
        return found
    model = {**config["model"], "separable": networks.VARIANTS[found["case"]]}
    floor = roofline.floor(roofline.counts({**config, "model": model}, found["part"]), *measured)
    seconds = found["seconds"][f"{found['case']}, ours"]["wall_s"]["median"]
    return {**found, "roofline": {**floor, "times_the_floor": float(f"{seconds / floor['floor_s']:.4g}")}}
