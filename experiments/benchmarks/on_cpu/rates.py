"""The rates that a machine's cores reach, from which floors are computed."""

from __future__ import annotations

from typing import Any

from dsdenseunet.core.words import counted
from experiments.benchmarks.measuring import jax_rates, roofline
from experiments.benchmarks.measuring.pairs import Spread
from experiments.benchmarks.measuring.worker import our_process
from experiments.benchmarks.on_cpu import cores
from experiments.benchmarks.on_cpu.mednext_setting import Setting

# Side of the matrices, and GiB that are copied: more than any cache holds.
_SIDE, _GIB = 1024, 0.25


def rates(setting: Setting) -> list[dict[str, Any]]:
    """Operations (two a multiply-add) and bytes (read and written) a second, with each number of cores."""
    results = []
    for count in setting.cores:
        with cores.only(count), our_process() as worker:
            for rate_of, case, make_task, amount in jax_rates.tasks(("float32",), _SIDE, _GIB):
                worker.load(make_task)
                per_s = Spread.of([amount / worker.sample().wall_s for _ in range(setting.rounds)])
                case = f"{case}, {counted(count, 'core')}"
                setting.say(f"{'rates':<10} {case:<34} {per_s.median:.3g} a second")
                results.append(
                    {
                        **{"part": "rates", "case": case, "cores": count},
                        **{"rate_of": rate_of, "per_s": per_s.as_json()},
                    }
                )
    return results


def beside_their_floors(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each result that was counted with the floor that the same cores' rates set."""
    by_cores = {
        count: roofline.measured_rates(one for one in results if one.get("cores") == count)
        for count in {one.get("cores") for one in results}
    }
    return [roofline.beside(found, by_cores[found.get("cores")]) for found in results]
