"""Seconds until a fresh process has the training step ready: with an empty cache, and with a filled one."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

from experiments.benchmarks.measuring import jax_tasks
from experiments.benchmarks.measuring.pairs import Spread
from experiments.benchmarks.measuring.worker import Worker
from experiments.benchmarks.on_cpu.comparisons import Setting

STAGES = ("trace", "lower", "compile")


def compilation(setting: Setting) -> list[dict[str, Any]]:
    """Cold, warm, cold, warm, each in a process of its own; `compile` of a warm start reads the cache."""
    results = []
    for name, separable in (("DS", True), ("standard", False)):
        config = setting.variant(separable)
        found: dict[str, list[dict[str, Any]]] = {"cold": [], "warm": []}
        for _ in range(max(1, setting.rounds // 2)):
            with tempfile.TemporaryDirectory(dir=setting.folder) as temporary:
                weights, cache = Path(temporary) / "weights", Path(temporary) / "cache"
                jax_tasks.write_weights(config["model"], weights)
                for seconds in found.values():
                    environment = {
                        "JAX_COMPILATION_CACHE_DIR": str(cache),
                        "JAX_ENABLE_COMPILATION_CACHE": "true",
                    }
                    with Worker("compiler", environment) as worker:
                        worker.load(functools.partial(jax_tasks.Compilation, config, weights), warm_up=0)
                        seconds.append(worker.outputs())
        for start, seconds in found.items():
            totals = [sum(once[stage] for stage in STAGES) for once in seconds]
            wall, cpu = (Spread.of([float(total[clock]) for total in totals]) for clock in (0, 1))
            stages = {
                stage: [[round(float(value), 2) for value in once[stage]] for once in seconds]
                for stage in STAGES
            }
            result = {
                **{"part": "compile", "case": f"{name}, {start}"},
                **{"wall_s": wall.as_json(), "cpu_s": cpu.as_json(), "stages_wall_and_cpu_s": stages},
            }
            setting.say(f"{'compile':<10} {result['case']:<34} {wall} s, processor {cpu} s; {stages}")
            results.append(result)
    return results
