"""The whole network beside PyTorch's, eager and compiled: training step and forward pass, DS and standard."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from experiments.benchmarks.gpu import weights
from experiments.benchmarks.gpu.setting import Program, Setting, device_peak_gib, load_all
from experiments.benchmarks.gpu.weights import VARIANTS
from experiments.benchmarks.measuring import jax_tasks, roofline
from experiments.benchmarks.measuring.pairs import Alternation, alternate, difference
from experiments.benchmarks.measuring.worker import Worker

KINDS = ("step", "inference")
# Of the loss; batch statistics of bfloat16 maps through 569 layers. Float32 is held to 1e-4 by `make bench`.
_TOLERANCES = {"float32": 5e-3, "bfloat16": 5e-2}
# Of the time, what the measuring needs once everything is compiled.
_MEASURING_S = 15.0
_SAMPLE_S = 0.15

Task = Callable[[], Any]


def case(variant: str, dtype: str, batch: int) -> str:
    """The name of a comparison."""
    return f"{variant}, {dtype}, batch {batch}"


def program_name(kind: str, variant: str, dtype: str, batch: int) -> str:
    """The name of ours, for who waits until it is compiled."""
    return f"{kind}, {case(variant, dtype, batch)}"


def ours(setting: Setting, kind: str, variant: str, dtype: str, batch: int) -> Task:
    """What is timed of ours."""
    config = setting.with_model(batch, dtype=dtype, separable=VARIANTS[variant])
    folder = setting.weights(VARIANTS[variant])
    if kind == "step":
        return functools.partial(jax_tasks.Step, config, folder)
    return functools.partial(jax_tasks.Forward, config, folder, False)


def programs(setting: Setting) -> list[Program]:
    """Every step, then every forward pass, in the order of measuring."""
    amounts = setting.amounts
    passes = itertools.product(KINDS, amounts.dtypes, amounts.batches, VARIANTS)
    return [
        Program(program_name(kind, variant, dtype, batch), ours(setting, kind, variant, dtype, batch))
        for kind, dtype, batch, variant in passes
    ]


def measure(setting: Setting) -> Iterator[dict[str, Any]]:
    """Ours beside PyTorch as it comes; steps before forward passes, the first type before the others."""
    weights.ensure(setting)
    for kind, dtype in itertools.product(KINDS, setting.amounts.dtypes):
        yield from compare(setting, kind, dtype, setting.amounts.batches, "eager")


def compare(
    setting: Setting, kind: str, dtype: str, batches: Sequence[int], peer: str
) -> Iterator[dict[str, Any]]:
    """A result a variant and batch; what is known already is passed over.

    A side keeps its process from one batch to the next, larger one: what its allocator counts is the largest
    of all, which is the last one's.

    Args:
        setting: of the run.
        kind: of `KINDS`.
        dtype: of both sides.
        batches: ascending.
        peer: PyTorch's form, `eager` or `compiled`, where it stands beside at all.
    """
    ending = "" if peer == "eager" else f", {peer}"
    known = setting.known(kind)
    left = [
        batch for batch in batches if not all(f"{case(v, dtype, batch)}{ending}" in known for v in VARIANTS)
    ]
    if not left:
        return
    sides = ["ours", peer] if setting.peer else ["ours"]
    names = [f"{variant}, {side}" for variant, side in itertools.product(VARIANTS, sides)]
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name)) for name in names}
        for batch in left:
            setting.wait_for(*(program_name(kind, variant, dtype, batch) for variant in VARIANTS))
            tasks = {name: side_task(setting, kind, name, dtype, batch) for name in workers}
            loaded, failed = load_all(workers, tasks, setting.left_s() - _MEASURING_S, warm_up=3)
            with setting.quiet():
                ready = {name: workers[name] for name in loaded}
                measured = alternate(ready, setting.amounts.rounds, _SAMPLE_S)
            outputs = {name: workers[name].outputs() for name in loaded}
            peaks = {name: device_peak_gib(outputs[name], workers[name]) for name in loaded}
            for variant in VARIANTS:
                found: dict[str, Any] = {
                    **{"part": kind, "case": f"{case(variant, dtype, batch)}{ending}"},
                    **{"dtype": dtype, "batch": batch},
                    "seconds_until_ready": _own(variant, loaded),
                    "peak_gib": _own(variant, peaks),
                    "failed": _own(variant, failed),
                    **_result(setting, kind, variant, dtype, batch, measured, outputs),
                }
                _tell(setting, found)
                yield found
            # A side that is out of memory or too slow at one batch is so at the next.
            workers = {name: workers[name] for name in loaded}
            if not workers:
                return


def _own(variant: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of values by side those of one variant."""
    return {side: value for side, value in values.items() if side.startswith(f"{variant}, ")}


def side_task(setting: Setting, kind: str, name: str, dtype: str, batch: int) -> Task:
    """What is timed of a side, such as `DS, ours`, `standard, eager` or `DS, compiled`."""
    variant, side = name.split(", ")
    if side == "ours":
        return ours(setting, kind, variant, dtype, batch)
    from experiments.benchmarks.measuring import torch_tasks

    config = setting.with_model(batch, dtype=dtype, separable=VARIANTS[variant])
    folder = setting.weights(VARIANTS[variant])
    network = functools.partial(torch_tasks.Network, config, folder, "channels_last", kind)
    return functools.partial(network, device="present", compiled=side == "compiled")


def _result(
    setting: Setting,
    kind: str,
    variant: str,
    dtype: str,
    batch: int,
    measured: Alternation,
    outputs: Mapping[str, Any],
) -> dict[str, Any]:
    mine = f"{variant}, ours"
    own = _own(variant, outputs)
    found: dict[str, Any] = {"seconds": Alternation(_own(variant, measured.samples)).as_json()}
    if mine not in own:
        return found
    others = [side for side in own if side != mine]
    differences = {side: difference(own[mine], own[side]) for side in others}
    limit = _TOLERANCES[dtype]
    config = setting.with_model(batch, dtype=dtype, separable=VARIANTS[variant])
    found |= {
        "counted": roofline.counts(config, kind),
        "took_s": measured.seconds(mine).median,
        "differences": {
            side: {what: float(f"{value:.2g}") for what, value in values.items()}
            for side, values in differences.items()
        },
        "loss_tolerance": limit,
        "losses_agree": all(values["loss"] <= limit for values in differences.values()),
    }
    if others:
        found["against"] = measured.best(others)
        found["ratio"] = measured.ratio(mine, found["against"]).as_json()
    if variant == "DS" and "standard, ours" in measured.samples:
        found["standard_over_ds"] = measured.ratio("standard, ours", mine).as_json()
    return found


def _tell(setting: Setting, found: Mapping[str, Any]) -> None:
    times = {side: f"{1e3 * seconds['wall_s']['median']:.3g}" for side, seconds in found["seconds"].items()}
    setting.say(f"{found['part']}, {found['case']}: milliseconds {times}")
    for side, reason in found["failed"].items():
        setting.say(f"{found['part']}, {found['case']}: {side} failed: {reason.strip().splitlines()[-1]}")
