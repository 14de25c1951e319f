"""XLA's flags for GPUs that are worth trying, each on the DS training step."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

from experiments.benchmarks.gpu import weights
from experiments.benchmarks.gpu.setting import Program, Setting, load_all
from experiments.benchmarks.measuring import jax_tasks
from experiments.benchmarks.measuring.pairs import alternate
from experiments.benchmarks.measuring.worker import Worker

_DEFAULT = "default"
_LOOPS = "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,CONDITIONAL,WHILE"
# A flag that this XLA does not know ends its process: its side is noted as failed.
FLAGS = {
    _DEFAULT: "",
    "no autotuning": "--xla_gpu_autotune_level=0",
    "latency hiding": "--xla_gpu_enable_latency_hiding_scheduler=true",
    "no command buffers": "--xla_gpu_enable_command_buffer=",
    "loops in command buffers": f"--xla_gpu_enable_command_buffer={_LOOPS} --xla_gpu_graph_min_graph_size=1",
    "cuDNN matrix products": "--xla_gpu_cudnn_gemm_fusion_level=2",
    "cuDNN convolution fusions": "--xla_gpu_experimental_enable_conv_fusion=true",
}
_MEASURING_S = 15.0


def _tried(setting: Setting) -> dict[str, str]:
    names = list(FLAGS)[: setting.amounts.flag_sets + 1]
    return {name: FLAGS[name] for name in names}


def _environment(flags: str) -> dict[str, str]:
    return {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()}


def _make_task(setting: Setting) -> Callable[[], Any]:
    config = setting.with_model(
        setting.amounts.typical_batch, separable=True, dtype=setting.amounts.dtypes[0]
    )
    return functools.partial(jax_tasks.Step, config, setting.weights(True))


def programs(setting: Setting) -> list[Program]:
    """The step with each of them."""
    task = _make_task(setting)
    return [
        Program(f"flags, {name}", task, _environment(flags))
        for name, flags in _tried(setting).items()
        if flags
    ]


def measure(setting: Setting) -> Iterator[dict[str, Any]]:
    """One result a set of flags, with its seconds beside the default's; those that failed say why."""
    amounts = setting.amounts
    step = f"DS step, {amounts.dtypes[0]}, batch {amounts.typical_batch}"
    known = setting.known("flags")
    names = [name for name in _tried(setting) if name == _DEFAULT or f"{step}, {name}" not in known]
    if names == [_DEFAULT]:
        return
    weights.ensure(setting)
    setting.wait_for(*(f"flags, {name}" for name in names if name != _DEFAULT))
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name, _environment(FLAGS[name]))) for name in names}
        tasks = dict.fromkeys(names, _make_task(setting))
        loaded, failed = load_all(workers, tasks, setting.left_s() - _MEASURING_S, warm_up=3)
        if _DEFAULT not in loaded:
            raise RuntimeError(failed[_DEFAULT])
        with setting.quiet():
            measured = alternate({name: workers[name] for name in loaded}, amounts.rounds)
    for name in names[1:]:
        about = {"case": f"{step}, {name}", "flags": FLAGS[name]}
        if name in failed:
            setting.say(f"flags, {name}: failed: {failed[name].strip().splitlines()[-1]}")
            yield {**about, "failed": failed[name][-1000:]}
            continue
        ratio = measured.ratio(name, _DEFAULT)
        setting.say(f"flags, {name}: {ratio} of the default's time")
        seconds = {side: measured.as_json()[side] for side in (name, _DEFAULT)}
        yield {**about, "ratio": ratio.as_json(), "seconds": seconds, "seconds_until_ready": loaded[name]}
