"""The whole network beside PyTorch's, eager and compiled: training step and forward pass, DS and standard."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from experiments.benchmarks.gpu.setting import Setting, device_peak_gib, load_all
from experiments.benchmarks.measuring import jax_tasks
from experiments.benchmarks.measuring.pairs import Alternation, alternate, difference
from experiments.benchmarks.measuring.worker import Worker

VARIANTS = {"DS": True, "standard": False}
# Of the loss; batch statistics of bfloat16 maps through 569 layers. Float32 is held to 1e-4 by `make bench`.
_TOLERANCES = {"float32": 5e-3, "bfloat16": 5e-2}
# Of the time, what the measuring needs once everything is compiled.
_MEASURING_S = 20.0


def step(setting: Setting) -> Iterator[dict[str, Any]]:
    """Training steps; the DS network's also against the standard one's."""
    return _networks(setting, "step")


def inference(setting: Setting) -> Iterator[dict[str, Any]]:
    """Forward passes with running statistics."""
    return _networks(setting, "inference")


def _networks(setting: Setting, kind: str) -> Iterator[dict[str, Any]]:
    with contextlib.ExitStack() as stack:
        tasks: dict[str, Callable[[], Any]] = {}
        for name, separable in VARIANTS.items():
            config = setting.variant(separable)
            weights = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=setting.folder)))
            jax_tasks.write_weights(config["model"], weights)
            tasks |= {f"{name}, {side}": task for side, task in _sides(setting, config, weights, kind)}
        workers = {name: stack.enter_context(Worker(name)) for name in tasks}
        loaded, failed = load_all(workers, tasks, setting.left_s() - _MEASURING_S, warm_up=3)
        measured = alternate({name: workers[name] for name in loaded}, setting.rounds)
        outputs = {name: workers[name].outputs() for name in loaded}
        peaks = {name: device_peak_gib(outputs[name], workers[name]) for name in loaded}
    for name in VARIANTS:
        own = {side: value for side, value in outputs.items() if side.startswith(f"{name}, ")}
        if f"{name}, ours" in own:
            yield _result(setting, kind, name, own, measured, loaded, failed, peaks)
        else:
            setting.say(f"{kind}: {name} failed")
            yield {"part": kind, "case": f"{name}, failed", "failed": failed}


def _sides(
    setting: Setting, config: Mapping[str, Any], weights: Path, kind: str
) -> Iterator[tuple[str, Callable[[], Any]]]:
    if kind == "step":
        yield "ours", functools.partial(jax_tasks.Step, config, weights)
    else:
        yield "ours", functools.partial(jax_tasks.Forward, config, weights, False)
    if setting.peer:
        from experiments.benchmarks.measuring import torch_tasks

        network = functools.partial(torch_tasks.Network, config, weights, "channels_last", kind, setting.peer)
        yield "eager", network
        yield "compiled", functools.partial(network, compiled=True)


def _result(
    setting: Setting,
    kind: str,
    name: str,
    outputs: Mapping[str, Any],
    measured: Alternation,
    loaded: Mapping[str, float],
    failed: Mapping[str, str],
    peaks: Mapping[str, float],
) -> dict[str, Any]:
    ours = f"{name}, ours"
    others = [side for side in outputs if side != ours]
    differences = {side: difference(outputs[ours], outputs[side]) for side in others}
    limit = _TOLERANCES[setting.config["model"]["dtype"]]
    found: dict[str, Any] = {
        **{"part": kind, "case": name, "dtype": setting.config["model"]["dtype"]},
        "seconds": Alternation({side: measured.samples[side] for side in outputs}).as_json(),
        "seconds_until_ready": {side: loaded[side] for side in outputs},
        "peak_gib": {side: peaks[side] for side in outputs},
        "failed": {side: reason for side, reason in failed.items() if side.startswith(f"{name}, ")},
        "differences": {
            side: {what: float(f"{value:.2g}") for what, value in values.items()}
            for side, values in differences.items()
        },
        "loss_tolerance": limit,
        "losses_agree": all(values["loss"] <= limit for values in differences.values()),
    }
    if others:
        found["against"] = measured.best(others)
        found["ratios"] = {side: measured.ratio(ours, side).as_json() for side in others}
        found["ratio"] = found["ratios"][found["against"]]
    if name == "DS" and "standard, ours" in measured.samples:
        found["standard_over_ds"] = measured.ratio("standard, ours", ours).as_json()
    times = {side: f"{1e3 * measured.seconds(side).median:.3g}" for side in outputs}
    setting.say(f"{kind}: milliseconds {times}, losses agree: {found['losses_agree']}")
    for side, reason in found["failed"].items():
        setting.say(f"{kind}: {side} failed: {reason.strip().splitlines()[-1]}")
    return found
