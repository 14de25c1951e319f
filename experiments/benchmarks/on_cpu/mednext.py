"""MedNeXt S beside the same network, and beside nnU-Net's plain U-Net, in PyTorch."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.benchmarks.measuring import jax_tasks, roofline, torch_tasks
from experiments.benchmarks.measuring.pairs import Alternation, alternate
from experiments.benchmarks.measuring.worker import TUNED, Task, Worker, our_process
from experiments.benchmarks.on_cpu import cores
from experiments.benchmarks.on_cpu.comparisons import (
    LAYOUTS,
    TOLERANCES_IN_TRAINING,
    Result,
    check,
    compare,
    told,
)
from experiments.benchmarks.on_cpu.mednext_setting import Setting, Shape, in_words

# A layout that takes longer than this share of the faster one's time, once each, is not measured further.
_NEARLY_AS_FAST = 1.2
_UNET = "U-Net"


def inference(setting: Setting) -> list[Result]:
    """The forward pass, after its logits have been found equal to PyTorch's."""
    return _all(setting, "inference", 2 * setting.rounds)


def step(setting: Setting) -> list[Result]:
    """The training step, after the first one's loss and gradient norm have been found equal to PyTorch's."""
    return _all(setting, "step", setting.rounds)


def _all(setting: Setting, part: str, rounds: int) -> list[Result]:
    results = []
    for count in setting.cores:
        for shape in setting.shapes:
            with cores.only(count):
                results += _one_shape(setting, part, shape, count, rounds)
    return results


def _one_shape(setting: Setting, part: str, shape: Shape, count: int, rounds: int) -> list[Result]:
    """All kernels and the U-Net in one run: in every round each side's sample follows its neighbour's."""
    workers: dict[str, Worker] = {}
    # By kernel: the names of its own sides among all of them, and what is noted.
    sides: dict[int, dict[str, str]] = {}
    details: dict[int, dict[str, Any]] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=setting.folder)))
        for kernel in setting.kernels:
            name, config = f"k{kernel}", setting.mednext(kernel, shape)
            jax_tasks.Weights(config["model"], folder / name)
            ours = stack.enter_context(our_process())
            ours.load(_our_task(part, config, folder / name))
            found, detail = _fastest(stack, name, config, folder / name, part, ours)
            own = {"ours": ours, **found}
            workers |= {f"{side}, {name}": worker for side, worker in own.items()}
            sides[kernel] = {side: f"{side}, {name}" for side in own}
            about = {"kernel": kernel, "cores": count, "shape": list(shape)}
            details[kernel] = {**about, "counted": roofline.counts(config, part), **detail}
        config = setting.config("unet", shape)
        jax_tasks.Weights(config["model"], folder / _UNET)
        found, _ = _fastest(stack, _UNET, config, folder / _UNET, part)
        unet = {f"{_UNET}, {layout}": worker for layout, worker in found.items()}
        workers |= unet
        measured = alternate(workers, rounds, untimed_calls=1)
        peaks = {side: round(worker.peak_gib().running, 2) for side, worker in workers.items()}
    results = []
    for kernel, own_sides in sides.items():
        names = {**own_sides, **{side: side for side in unet}}
        own_samples = Alternation({side: measured.samples[name] for side, name in names.items()})
        detail = {
            **details[kernel],
            "took_s": own_samples.seconds("ours").median,
            "peak_gib": {side: peaks[name] for side, name in names.items()},
        }
        case = f"k{kernel}, {in_words(shape, count)}"
        same = [side for side in own_sides if side != "ours"]
        pair = [compare(part, case, own_samples, against, detail) for against in (same, list(unet))]
        results += [told(result, setting.say) for result in pair]
        setting.say(f"{'':<11}differences: {detail['differences']}")
    return results


def _our_task(part: str, config: dict[str, Any], weights: Path) -> Callable[[], Task]:
    if part == "step":
        return functools.partial(jax_tasks.Step, config, weights)
    return functools.partial(jax_tasks.Forward, config, weights, False)


def _fastest(
    stack: contextlib.ExitStack,
    name: str,
    config: dict[str, Any],
    weights: Path,
    part: str,
    ours: Worker | None = None,
) -> tuple[dict[str, Worker], dict[str, Any]]:
    """PyTorch in the layout in which it is fastest, or nearly so, by name; what was seen of both.

    Args:
        stack: that ends the processes.
        name: of the network.
        config: of the network.
        weights: folder that `jax_tasks.write_weights` wrote to.
        part: `step` or `inference`.
        ours: that PyTorch's outputs must equal.
    """
    workers, seconds, differences = {}, {}, {}
    for layout in LAYOUTS:
        worker = workers[layout] = stack.enter_context(Worker(f"PyTorch, {layout}", TUNED))
        worker.load(functools.partial(torch_tasks.Network, config, weights, layout, part))
        if ours:
            # Its norms take statistics of the map in every pass, as others do in training.
            tolerance = TOLERANCES_IN_TRAINING[layout]
            differences[layout] = check(f"{name}, {part}, {layout}", ours, worker, tolerance)
        seconds[layout] = worker.sample().wall_s
    least = min(seconds.values())
    for layout in LAYOUTS:
        if seconds[layout] > _NEARLY_AS_FAST * least:
            workers.pop(layout).close()
    tried = {layout: float(f"{value:.4g}") for layout, value in seconds.items()}
    return workers, {"differences": differences, "tried_s": tried}
