"""Depthwise convolutions in all forms at the network's shapes, and a whole step with each form."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from experiments.benchmarks.gpu import record, weights
from experiments.benchmarks.gpu.setting import Program, Setting, load_all
from experiments.benchmarks.measuring import depthwise_choices, jax_convolutions, jax_tasks
from experiments.benchmarks.measuring.pairs import Alternation, alternate, difference
from experiments.benchmarks.measuring.shapes import ConvolutionCase, depthwise_cases
from experiments.benchmarks.measuring.worker import Sample, Worker

# There are many of them.
_ROUNDS, _SAMPLE_S = 3, 0.1
# Of the largest value: GPU libraries' convolutions take float32 as TF32; bfloat16 has eight bits.
_TOLERANCES = {"float32": 5e-3, "bfloat16": 3e-2}


def programs(setting: Setting) -> list[Program]:
    """The whole steps: a single convolution compiles in about a second."""
    dtype = setting.amounts.dtypes[0]
    return [
        Program(_step_name(form, dtype), _step(setting, form, dtype)) for form in setting.amounts.step_forms
    ]


def measure(setting: Setting) -> Iterator[dict[str, Any]]:
    """The whole step; a result a shape and pass; last the rows that the table of forms should have."""
    yield from _whole_step(setting)
    yield from _convolutions(setting, 1)
    if setting.round == 2:
        yield from _convolutions(setting, setting.amounts.typical_batch)
    measured = record.assemble(record.read(setting.results))
    rows = depthwise_choices.source(depthwise_choices.rows(measured))
    setting.say(f"dsdenseunet/ops/depthwise_choice.py should have\n{rows}")


def _convolutions(setting: Setting, batch: int) -> Iterator[dict[str, Any]]:
    known = setting.known("depthwise")
    with contextlib.ExitStack() as stack:
        workers = {form: stack.enter_context(Worker(form)) for form in setting.amounts.forms}
        if setting.peer:
            workers["PyTorch"] = stack.enter_context(Worker("PyTorch"))
        shapes = depthwise_cases(setting.config)[: setting.amounts.shapes]
        # Both passes together first: the choice is made by them.
        for backward, dtype, one in itertools.product((True, False), setting.amounts.dtypes, shapes):
            case = _case(one, batch, backward)
            if f"{case}, {dtype}" not in known:
                yield _compare(setting, workers, one, batch, backward, dtype, case)


def _case(one: ConvolutionCase, batch: int, backward: bool) -> str:
    shape, features, stride = one
    size = " x ".join(map(str, shape[:3]))
    size = f"{batch} x ({size})" if batch > 1 else size
    return f"{size}, {features}{' by 2' * (stride != (1, 1, 1))}, {'fwd+bwd' if backward else 'fwd'}"


def _compare(
    setting: Setting,
    workers: Mapping[str, Worker],
    one: ConvolutionCase,
    batch: int,
    backward: bool,
    dtype: str,
    case: str,
) -> dict[str, Any]:
    repeats = setting.amounts.repeats
    tasks = {side: _task(side, one, batch, backward, dtype, repeats) for side in workers}
    loaded, failed = load_all(workers, tasks, setting.left_s())
    ready = {side: workers[side] for side in loaded}
    outputs = {side: worker.outputs() for side, worker in ready.items()}
    differences = {
        side: max(difference(found, outputs["shifted"]).values()) for side, found in outputs.items()
    }
    wrong = {side: value for side, value in differences.items() if not value <= _TOLERANCES[dtype]}
    right = {side: worker for side, worker in ready.items() if side not in wrong}
    with setting.quiet():
        calls = alternate(right, _ROUNDS, _SAMPLE_S).samples
    measured = Alternation(
        {
            side: [Sample(sample.wall_s / repeats, sample.cpu_s / repeats) for sample in samples]
            for side, samples in calls.items()
        }
    )
    found: dict[str, Any] = {
        # A table of forms is made of `form_case` and `dtype`; a name is of one result.
        **{"case": f"{case}, {dtype}", "convolution": case, "dtype": dtype, "repeats": repeats},
        **{"best": measured.best([form for form in setting.amounts.forms if form in calls])},
        **{"seconds": measured.as_json(), "failed": failed, "wrong": wrong},
        "differences": {side: float(f"{value:.2g}") for side, value in differences.items()},
    }
    if "PyTorch" in calls:
        found["against"] = "PyTorch"
        found["ratio"] = measured.ratio(found["best"], "PyTorch").as_json()
    times = {side: f"{1e6 * measured.seconds(side).median:.3g}" for side in calls}
    setting.say(f"{case}, {dtype}: microseconds {times}")
    return found


def _task(
    side: str, one: ConvolutionCase, batch: int, backward: bool, dtype: str, repeats: int
) -> Callable[[], Any]:
    shape, features, stride = one
    if side != "PyTorch":
        ours = functools.partial(jax_convolutions.Convolution, shape, features, side, stride, backward)
        return functools.partial(ours, dtype=dtype, repeats=repeats, batch=batch)
    from experiments.benchmarks.measuring import torch_tasks

    theirs = functools.partial(torch_tasks.Convolution, shape, features, True, stride, backward)
    return functools.partial(
        theirs, "channels_last", device="present", dtype=dtype, repeats=repeats, batch=batch
    )


def _step_name(form: str, dtype: str) -> str:
    return f"step with {form}, {dtype}"


def _step(setting: Setting, form: str, dtype: str) -> Callable[[], Any]:
    config = setting.with_model(setting.amounts.typical_batch, dtype=dtype, separable=True)
    return functools.partial(jax_tasks.Step, config, setting.weights(True), form=form)


def _whole_step(setting: Setting) -> Iterator[dict[str, Any]]:
    """The whole step with each form, which is what the choice is for."""
    dtype, batch = setting.amounts.dtypes[0], setting.amounts.typical_batch
    case = f"DS step, {dtype}, batch {batch}, by form"
    if case in setting.known("depthwise"):
        return
    weights.ensure(setting)
    setting.wait_for(*(_step_name(form, dtype) for form in setting.amounts.step_forms))
    with contextlib.ExitStack() as stack:
        workers = {form: stack.enter_context(Worker(form)) for form in setting.amounts.step_forms}
        tasks = {form: _step(setting, form, dtype) for form in setting.amounts.step_forms}
        loaded, failed = load_all(workers, tasks, setting.left_s(), warm_up=3)
        with setting.quiet():
            measured = alternate({form: workers[form] for form in loaded}, setting.amounts.rounds)
    if loaded:
        times = {form: f"{1e3 * measured.seconds(form).median:.3g}" for form in loaded}
        setting.say(f"{case}: milliseconds {times}")
    yield {"case": case, "dtype": dtype, "seconds": measured.as_json(), "failed": failed}
