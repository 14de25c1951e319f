"""Depthwise convolutions in all forms, with both gradients, at the network's shapes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from experiments.benchmarks.gpu.setting import Setting, load_all
from experiments.benchmarks.measuring import jax_tasks
from experiments.benchmarks.measuring.pairs import Alternation, alternate, difference
from experiments.benchmarks.measuring.shapes import depthwise_cases
from experiments.benchmarks.measuring.worker import Sample, Worker

FORMS = ("shifted", "grouped", "pallas")
# Of the largest value: GPU libraries' convolutions take float32 as TF32; bfloat16 has eight bits.
_TOLERANCES = {"float32": 5e-3, "bfloat16": 3e-2}


def depthwise(setting: Setting) -> Iterator[dict[str, Any]]:
    """One result a shape: seconds of each form and of PyTorch channels-last, and the ratio to PyTorch."""
    dtype, repeats = setting.config["model"]["dtype"], setting.amounts.repeats
    with Worker("shifted") as shifted, Worker("grouped") as grouped, Worker("pallas") as pallas:
        workers = dict(zip(FORMS, (shifted, grouped, pallas), strict=True))
        if setting.peer:
            with Worker("PyTorch") as peer:
                yield from _cases(setting, {**workers, "PyTorch": peer}, dtype, repeats)
        else:
            yield from _cases(setting, workers, dtype, repeats)


def _cases(
    setting: Setting, workers: Mapping[str, Worker], dtype: str, repeats: int
) -> Iterator[dict[str, Any]]:
    for shape, features, stride in depthwise_cases(setting.config):
        size = " x ".join(map(str, shape[:3]))
        case = f"{size}, {features}{' by 2' * (stride != (1, 1, 1))}, fwd+bwd"
        arguments = (shape, features, stride, dtype, repeats)
        tasks = {side: _task(side, *arguments, setting.peer) for side in workers}
        loaded, failed = load_all(workers, tasks, setting.left_s())
        ready = {side: workers[side] for side in loaded}
        outputs = {side: worker.outputs() for side, worker in ready.items()}
        differences = {
            side: max(difference(found, outputs["shifted"]).values()) for side, found in outputs.items()
        }
        wrong = {side: value for side, value in differences.items() if not value <= _TOLERANCES[dtype]}
        if wrong:
            raise RuntimeError(f"{case}: not equal to `shifted`, share of the largest value: {wrong}")
        calls = alternate(ready, setting.rounds).samples
        measured = Alternation(
            {
                side: [Sample(sample.wall_s / repeats, sample.cpu_s / repeats) for sample in samples]
                for side, samples in calls.items()
            }
        )
        found: dict[str, Any] = {
            **{"part": "depthwise", "case": case, "dtype": dtype, "repeats": repeats},
            **{"best": measured.best([form for form in FORMS if form in ready])},
            **{"seconds": measured.as_json(), "failed": failed},
            "differences": {side: float(f"{value:.2g}") for side, value in differences.items()},
        }
        if "PyTorch" in ready:
            found["against"] = "PyTorch"
            found["ratio"] = measured.ratio(found["best"], "PyTorch").as_json()
        times = {side: f"{1e6 * measured.seconds(side).median:.3g}" for side in ready}
        setting.say(f"{case}, {dtype}: microseconds {times}{', failed: ' * bool(failed)}{', '.join(failed)}")
        yield found


def _task(
    side: str,
    shape: tuple[int, ...],
    features: int,
    stride: tuple[int, int, int],
    dtype: str,
    repeats: int,
    peer: str | None,
) -> Callable[[], Any]:
    if side in FORMS:
        return functools.partial(jax_tasks.Convolution, shape, features, side, stride, True, dtype, repeats)
    from experiments.benchmarks.measuring import torch_tasks

    where = ("channels_last", peer or "cpu", dtype, repeats)
    return functools.partial(torch_tasks.Convolution, shape, features, True, stride, True, *where)
