"""Depthwise convolutions of MedNeXt's stages by themselves: ours, XLA's grouped ones, PyTorch's."""

from __future__ import annotations

import functools
import math
from typing import Any

from experiments.benchmarks.measuring import jax_convolutions, roofline, torch_tasks
from experiments.benchmarks.measuring.pairs import Alternation, alternate
from experiments.benchmarks.measuring.shapes import DepthwiseCase, mednext_cases
from experiments.benchmarks.measuring.worker import TUNED, Worker, our_process
from experiments.benchmarks.on_cpu import cores
from experiments.benchmarks.on_cpu.comparisons import LAYOUTS, Result, check, compare, told
from experiments.benchmarks.on_cpu.mednext_setting import Setting

GROUPED = "grouped"
# Products of one call up to which XLA's grouped convolution is called, for about as many of which it takes a
# second; transposed it multiplies with the zeros between voxels, too.
_MOST_GROUPED = 10**8


def depthwise(setting: Setting) -> list[Result]:
    """Values alone, and values with both gradients, after they have been found equal."""
    results = []
    with (
        cores.only(setting.cores[0]),
        our_process() as ours,
        our_process(GROUPED) as xla,
        Worker("PyTorch", TUNED) as first,
        Worker("PyTorch", TUNED) as second,
    ):
        peers = dict(zip(LAYOUTS, (first, second), strict=True))
        for kernel in setting.kernels:
            for case in mednext_cases(setting.mednext(kernel, setting.shapes[0])):
                for backward in (False, True):
                    results += _compare(setting, case, backward, ours, xla, peers)
    return results


def _compare(
    setting: Setting, case: DepthwiseCase, backward: bool, ours: Worker, xla: Worker, peers: dict[str, Worker]
) -> list[Result]:
    shape, stride, size, transposed = case
    more: dict[str, Any] = {"size": size, "transposed": transposed}
    name = f"{case.in_words}, {'fwd+bwd' if backward else 'fwd'}"
    form = functools.partial(jax_convolutions.Convolution, shape, shape[3], **more)
    ours.load(functools.partial(form, form="auto", stride=stride, backward=backward))
    differences = {}
    for layout, worker in peers.items():
        arguments = (shape, shape[3], True, stride, backward, layout)
        worker.load(functools.partial(torch_tasks.Convolution, *arguments, **more))
        differences[layout] = check(name, ours, worker)
    measured = alternate({"ours": ours, **peers}, setting.rounds)
    counted = roofline.depthwise_counts(case, backward)
    about: dict[str, Any] = {
        **{"kernel": size, "stride": list(stride), "transposed": transposed, "cores": setting.cores[0]},
        **{"counted": counted, "took_s": measured.seconds("ours").median, "differences": differences},
    }
    results = [told(compare("depthwise", name, measured, list(peers), about), setting.say)]
    if (3 if backward else 1) * size**3 * math.prod(case.out_shape) <= _MOST_GROUPED:
        xla.load(functools.partial(form, form=GROUPED, stride=stride, backward=backward), warm_up=0)
        about = {**about, "differences": {GROUPED: check(name, ours, xla)}}
        # Once: a call may take seconds.
        beside = Alternation({"ours": [ours.sample(10)], GROUPED: [xla.sample()]})
        results.append(told(compare("depthwise", name, beside, [GROUPED], about), setting.say))
    return results
