"""Whether the device computes what the CPU does: the kernels against plain sums, and two training steps."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.gpu.setting import Setting, load_all
from experiments.benchmarks.gpu.weights import VARIANTS
from experiments.benchmarks.measuring import jax_convolutions, jax_tasks
from experiments.benchmarks.measuring.pairs import difference
from experiments.benchmarks.measuring.shapes import depthwise_cases
from experiments.benchmarks.measuring.worker import Worker

# Of the largest value. Shifted sums are elementwise: there is no TF32 in them.
_KERNELS = {"float32": 1e-5, "bfloat16": 2e-2}
# Of loss and gradient norm of the second step, float32 products on both sides.
_STEP = {"loss": 1e-4, "grad_norm": 1e-2}
_AT_ONCE = 5
_EXACT = {"JAX_DEFAULT_MATMUL_PRECISION": "float32"}


def measure(setting: Setting) -> Iterator[dict[str, Any]]:
    """`share` of each result is its largest difference as a share of what is allowed: at most 1 is equal."""
    with ThreadPoolExecutor(1) as threads:
        # The CPU's steps are compiled while the kernels are compared.
        steps = threads.submit(lambda: list(_steps(setting)))
        yield from _kernels(setting)
        yield from steps.result()


def _kernels(setting: Setting) -> Iterator[dict[str, Any]]:
    """`pallas` against `shifted` in float32 of the same rounded inputs, and against itself, run twice."""
    known = setting.known("equality")
    shapes = depthwise_cases(setting.config)[: setting.amounts.shapes]
    cases = {}
    for dtype, (shape, features, stride) in itertools.product(setting.amounts.dtypes, shapes):
        size = f"{' x '.join(map(str, shape[:3]))}, {features}{' by 2' * (stride != (1, 1, 1))}"
        task = functools.partial(jax_convolutions.KernelPair, shape, features, stride, dtype)
        cases[f"kernel, {size}, {dtype}"] = task, _KERNELS[dtype]
    left = {case: one for case, one in cases.items() if case not in known}
    # Each compiles for seconds.
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        jobs = {threads.submit(_kernel, task): (case, limit) for case, (task, limit) in left.items()}
        for job in as_completed(jobs):
            (case, limit), found = jobs[job], job.result()
            share = max(float(value) for name, value in found.items() if name != "same_bits") / limit
            setting.say(f"{case}: {share:.2g} of what is allowed")
            yield {
                **{"case": case, "share": _rounded(share), "limit": limit},
                "differences": {name: _rounded(value) for name, value in found.items()},
            }


def _kernel(make_task: Callable[[], Any]) -> dict[str, np.ndarray]:
    with Worker("kernel") as worker:
        worker.load(make_task, warm_up=0)
        return worker.outputs()


def _steps(setting: Setting) -> Iterator[dict[str, Any]]:
    """Two steps of a small network from the same weights on the same batch: loss and norm of the second."""
    known = setting.known("equality")
    for name, separable in VARIANTS.items():
        config = setting.with_model(
            2, **dict(setting.amounts.small_model), separable=separable, dtype="float32"
        )
        config["data"]["patch_size"] = setting.amounts.small_patch
        folder = setting.folder / f"equality_{name}"
        forms: list[str | None] = list(setting.amounts.step_forms) if separable else [None]
        cases = {form: f"step, {name}{f', {form}' if form else ''}" for form in forms}
        if all(case in known for case in cases.values()):
            continue
        found = _outputs(setting, config, folder, forms)
        for form, case in cases.items():
            differences = difference(found[form or "device"], found["cpu"])
            share = max(differences[what] / limit for what, limit in _STEP.items())
            setting.say(f"{case}: {share:.2g} of what is allowed")
            yield {
                **{"case": case, "share": _rounded(share), "limit": _STEP},
                "differences": {what: _rounded(value) for what, value in differences.items()},
            }


def _outputs(
    setting: Setting, config: Mapping[str, Any], folder: Path, forms: list[str | None]
) -> dict[str, dict[str, np.ndarray]]:
    with Worker("weights", {"JAX_PLATFORMS": "cpu"}) as worker:
        worker.load(functools.partial(jax_tasks.Weights, config["model"], folder), warm_up=0)
    task = functools.partial(jax_tasks.Step, config, folder)
    tasks: dict[str, Callable[[], Any]] = {"cpu": functools.partial(task, metrics_of_step=2)}
    tasks |= {form or "device": functools.partial(task, form=form, metrics_of_step=2) for form in forms}
    workers = {name: Worker(name, {**_EXACT, **_platform(name)}) for name in tasks}
    try:
        _, failed = load_all(workers, tasks, setting.left_s(), warm_up=2)
        if failed:
            raise RuntimeError("\n".join(failed.values()))
        found = {name: worker.outputs() for name, worker in workers.items()}
    finally:
        for worker in workers.values():
            worker.__exit__()
    return {name: {what: values[what] for what in _STEP} for name, values in found.items()}


def _platform(name: str) -> dict[str, str]:
    return {"JAX_PLATFORMS": "cpu"} if name == "cpu" else {}


def _rounded(value: Any) -> float:
    return float(f"{float(value):.3g}")
