"""The parts of the benchmark: which tasks are compared, on what shapes, and what is recorded."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.benchmarks.measuring import jax_convolutions, jax_tasks, pipeline_task, torch_tasks
from experiments.benchmarks.measuring.pairs import Alternation, Spread, alternate, difference
from experiments.benchmarks.measuring.shapes import ConvolutionCase, decoder_cases, depthwise_cases
from experiments.benchmarks.measuring.worker import TUNED, Worker, our_process

LAYOUTS = tuple(torch_tasks.LAYOUTS)
# Whole networks: PyTorch's layout and variables of its process; once as it comes.
PEERS: dict[str, tuple[str, dict[str, str]]] = {
    **{layout: (layout, TUNED) for layout in LAYOUTS},
    "channels_last, not tuned": ("channels_last", {}),
}
# Logits, losses and single convolutions, as a share of the largest value.
TOLERANCE = 1e-4
# PyTorch's batch statistics of channels-last maps are inexact: one normalisation at full resolution is
# wrong by 2.5e-4 of a standard deviation, with NCDHW by 1e-6.
TOLERANCES_IN_TRAINING = {"ncdhw": TOLERANCE, "channels_last": 5e-3}
# A gradient's norm through 569 layers of float32.
GRADIENT_TOLERANCE = 1e-2


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all parts share.

    Attributes:
        config: a resolved config as plain values.
        rounds: how often the sides take turns at whole networks; short calls three times as often.
        folder: for temporary files.
        say: told of each result as it comes.
    """

    config: Mapping[str, Any]
    rounds: int
    folder: Path
    say: Callable[[str], None]

    def variant(self, separable: bool) -> dict[str, Any]:
        """The config with depthwise separable (DS) or full (standard) convolutions."""
        return {**self.config, "model": {**self.config["model"], "separable": separable}}


@dataclasses.dataclass(frozen=True)
class Result:
    """One line of the table: ours against the better of the others.

    Attributes:
        part, case, against: what was compared.
        ratio, cpu_ratio: of our seconds to theirs in the same round, by the clock and in processor time.
        detail: everything else that was measured, as plain values.
    """

    part: str
    case: str
    against: str
    ratio: Spread
    cpu_ratio: Spread
    detail: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **{"part": self.part, "case": self.case, "against": self.against},
            **{"ratio": self.ratio.as_json(), "cpu_ratio": self.cpu_ratio.as_json()},
            **self.detail,
        }


def compare(
    part: str, case: str, measured: Alternation, against: list[str], detail: dict[str, Any]
) -> Result:
    """Ours against whichever of `against` took the fewest seconds."""
    best = measured.best(against)
    return Result(
        part,
        case,
        best,
        measured.ratio("ours", best),
        measured.ratio("ours", best, "cpu_s"),
        {"seconds": measured.as_json(), **detail},
    )


def told(result: Result, say: Callable[[str], None]) -> Result:
    """The result, of which a line has been said."""
    seconds = result.detail["seconds"]
    ours, theirs = seconds["ours"]["wall_s"]["median"], seconds[result.against]["wall_s"]["median"]
    say(
        f"{result.part:<10} {result.case:<34} {_milliseconds(ours)} {_milliseconds(theirs)}  "
        f"{result.against:<32} {result.ratio!s:<26} {result.cpu_ratio}"
    )
    return result


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:>10.4g} ms"


def check(what: str, ours: Worker, theirs: Worker, tolerance: float = TOLERANCE) -> dict[str, float]:
    """Differences of outputs; norms of gradients may differ more.

    Raises:
        RuntimeError: they differ by more than the tolerance.
    """
    found = difference(ours.outputs(), theirs.outputs())
    for name, value in found.items():
        limit = GRADIENT_TOLERANCE if name == "grad_norm" else tolerance
        if not value <= limit:
            raise RuntimeError(
                f"{what}: {name} of {ours.name} and {theirs.name} differ by {value:.2g}, more than {limit:g}"
            )
    return {name: float(f"{value:.2g}") for name, value in found.items()}


def depthwise(setting: Setting) -> list[Result]:
    """Depthwise convolutions of dense layers and transitions, alone and with both gradients."""
    cases = depthwise_cases(setting.config)
    return _convolutions(setting, "depthwise", cases, "auto", "grouped")


def convolution(setting: Setting) -> list[Result]:
    """The decoder's full convolutions, with XLA's own convolution beside."""
    return _convolutions(setting, "conv", decoder_cases(setting.config), "conv3d", "direct")


def _convolutions(setting: Setting, part: str, cases: list[ConvolutionCase], *forms: str) -> list[Result]:
    own, reference = forms
    depthwise = part == "depthwise"
    results = []
    with (
        our_process() as ours,
        our_process(reference) as xla,
        Worker("PyTorch", TUNED) as first,
        Worker("PyTorch", TUNED) as second,
    ):
        peers = dict(zip(LAYOUTS, (first, second), strict=True))
        for shape, features, stride in cases:
            for backward in (False, True):
                size = " x ".join(map(str, shape[:3])) + f", {shape[3]}" + f" -> {features}" * (not depthwise)
                case = f"{size}{' by 2' * (stride != (1, 1, 1))}{', fwd+bwd' if backward else ', fwd'}"
                ours.load(
                    functools.partial(jax_convolutions.Convolution, shape, features, own, stride, backward)
                )
                arguments = (shape, features, depthwise, stride, backward)
                errors = {}
                for layout, worker in peers.items():
                    worker.load(functools.partial(torch_tasks.Convolution, *arguments, layout))
                    errors[layout] = check(case, ours, worker)
                measured = alternate({"ours": ours, **peers}, 3 * setting.rounds)
                detail: dict[str, Any] = {"differences": errors}
                results.append(told(compare(part, case, measured, list(peers), detail), setting.say))

                xla.load(
                    functools.partial(
                        jax_convolutions.Convolution, shape, features, reference, stride, backward
                    )
                )
                detail = {"differences": {reference: check(case, ours, xla)}}
                # The reference takes seconds a call at the largest shapes.
                measured = alternate({"ours": ours, reference: xla}, min(3, setting.rounds))
                results.append(told(compare(part, case, measured, [reference], detail), setting.say))
    return results


def step(setting: Setting) -> list[Result]:
    """The whole training step, after forward passes in training mode have been found equal."""
    return _networks(setting, "step", setting.rounds)


def inference(setting: Setting) -> list[Result]:
    """The whole network's forward pass with running statistics."""
    return _networks(setting, "inference", 2 * setting.rounds)


def _networks(setting: Setting, part: str, rounds: int) -> list[Result]:
    results = []
    for name, separable in (("DS", True), ("standard", False)):
        config = setting.variant(separable)
        with tempfile.TemporaryDirectory(dir=setting.folder) as temporary:
            weights = Path(temporary)
            jax_tasks.write_weights(config["model"], weights)
            differences = _forward_differences(config, weights) if part == "step" else {}
            with contextlib.ExitStack() as stack:
                ours = stack.enter_context(our_process())
                peers = {
                    peer: stack.enter_context(Worker(f"PyTorch, {peer}", environment))
                    for peer, (_, environment) in PEERS.items()
                }
                workers = {"ours": ours, **peers}
                if part == "step":
                    ours.load(functools.partial(jax_tasks.Step, config, weights))
                else:
                    ours.load(functools.partial(jax_tasks.Forward, config, weights, False))
                for peer, worker in peers.items():
                    layout = PEERS[peer][0]
                    worker.load(functools.partial(torch_tasks.Network, config, weights, layout, part))
                    tolerance = TOLERANCES_IN_TRAINING[layout] if part == "step" else TOLERANCE
                    differences[peer] = check(f"{name}, {part}, {peer}", ours, worker, tolerance)
                measured = alternate(workers, rounds, untimed_calls=1)
                peaks = {side: worker.peak_gib() for side, worker in workers.items()}
        size = " x ".join(map(str, config["data"]["patch_size"]))
        detail = {
            "differences": differences,
            "peak_gib": {side: round(peak.running, 2) for side, peak in peaks.items()},
            "peak_gib_of_set_up": {side: round(peak.set_up, 2) for side, peak in peaks.items()},
        }
        results.append(told(compare(part, f"{name}, {size}", measured, list(peers), detail), setting.say))
        setting.say("".join(f"\n{'':<11}{what}: {values}" for what, values in detail.items())[1:])
    return results


def _forward_differences(config: Mapping[str, Any], weights: Path) -> dict[str, dict[str, float]]:
    """Of logits and loss in training mode, against each layout."""
    differences = {}
    with our_process() as ours, Worker("PyTorch") as theirs:
        ours.load(functools.partial(jax_tasks.Forward, config, weights, True), warm_up=0)
        for layout, tolerance in TOLERANCES_IN_TRAINING.items():
            theirs.load(functools.partial(torch_tasks.Network, config, weights, layout, "forward"), warm_up=0)
            found = check(f"training mode, {layout}", ours, theirs, tolerance)
            differences[f"forward, {layout}"] = found
    return differences


def pipeline(setting: Setting) -> list[Result]:
    """A batch from the cache to the device beside a training step of the DS network."""
    config = setting.variant(True)
    results = []
    with tempfile.TemporaryDirectory(dir=setting.folder) as temporary, our_process("step") as training:
        folder = Path(temporary)
        jax_tasks.write_weights(config["model"], folder)
        cache = pipeline_task.write_cache(folder)
        training.load(functools.partial(jax_tasks.Step, config, folder))
        for augmented_on in ("device", "host"):
            arguments = (config, cache, augmented_on == "device")
            # As many calls as batches are held ready, so that only what is read counts.
            held = config["data"]["prefetch"]
            with our_process("feeding") as feeding, our_process("reading") as reading:
                feeding.load(functools.partial(pipeline_task.Feeding, *arguments), warm_up=held)
                reading.load(functools.partial(pipeline_task.Reading, *arguments), warm_up=held)
                sent = sum(array.nbytes for array in reading.outputs().values())
                workers = {"ours": feeding, "reading": reading, "step": training}
                measured = alternate(workers, setting.rounds, sample_s=3.0)
            per_second = [config["data"]["batch_size"] / sample.wall_s for sample in measured.samples["ours"]]
            detail = {
                "patches_per_s": Spread.of(per_second).as_json(),
                "host_cpu_ms_a_batch": round(1e3 * measured.seconds("reading", "cpu_s").median, 3),
                "bytes_to_device_a_batch": sent,
            }
            case = f"one batch, augmented on the {augmented_on}, against one step"
            results.append(told(compare("pipeline", case, measured, ["step"], detail), setting.say))
            setting.say("".join(f"\n{'':<11}{what}: {value}" for what, value in detail.items())[1:])
    return results
