"""The rates that a device reaches: multiplications by type, and reading and writing its memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax

from dsdenseunet.ops.depthwise_choice import Device
from dsdenseunet.runtime.environment import installed_version
from dsdenseunet.training import provenance
from experiments.benchmarks.gpu import driver
from experiments.benchmarks.gpu.setting import Setting
from experiments.benchmarks.measuring.jax_rates import tasks
from experiments.benchmarks.measuring.pairs import Spread
from experiments.benchmarks.measuring.worker import Worker


def measure(setting: Setting) -> Iterator[dict[str, Any]]:
    """What the run is made with; operations (two a multiply-add) and bytes (read and written) a second."""
    yield {"part": "provenance", "case": "provenance", "provenance": _provenance(setting)}
    side, gib = setting.amounts.matrix, setting.amounts.copied_gib
    with Worker("ours") as worker:
        for rate_of, case, make_task, amount in tasks(setting.amounts.dtypes, side, gib):
            worker.load(make_task, limit_s=setting.left_s())
            with setting.quiet():
                seconds = [worker.sample().wall_s for _ in range(3 * setting.amounts.rounds)]
            found = Spread.of([amount / sample for sample in seconds])
            unit = "bytes" if rate_of == "bytes" else "operations"
            setting.say(f"{case}: {found.median:.3g} {unit} a second")
            yield {"case": case, "rate_of": rate_of, "per_s": found.as_json()}


def _provenance(setting: Setting) -> dict[str, Any]:
    found = provenance.gather(dict(setting.config), "noise and smooth shapes from seed 0; phantoms, seed 0")
    found["amounts"] = dataclasses.asdict(setting.amounts)
    device = Device.present()
    found["hardware"]["compute_capability"] = device.capability and list(device.capability)
    found["hardware"]["driver"] = driver.ask("driver_version")
    found["hardware"]["memory_bytes"] = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    if setting.peer:
        from experiments.benchmarks.measuring import torch_tasks

        with Worker("PyTorch") as worker:
            worker.load(torch_tasks.Versions, warm_up=0)
            found["versions"]["cuDNN of PyTorch"] = int(worker.outputs()["cudnn"])
    for name in ("jax-cuda12-plugin", "jax-cuda13-plugin", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "torch"):
        if version := installed_version(name):
            found["versions"][name] = version
    return found
