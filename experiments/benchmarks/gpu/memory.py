"""The planner's prediction against the peak of a training step on the card, its allocator limited."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from dsdenseunet.memory.cards import Card, card_of_kind
from dsdenseunet.memory.planner import calibration
from dsdenseunet.memory.planner.compiler import Compiler
from dsdenseunet.memory.planner.law import Setting as Plan
from dsdenseunet.memory.planner.search import HEADROOM, Search, Space, with_setting
from experiments.benchmarks.gpu import driver
from experiments.benchmarks.gpu.setting import Program, Setting
from experiments.benchmarks.measuring import jax_tasks

# Of the card, side by side: each process has its own limit.
_AT_ONCE = 6
_COMPILE_S = 300.0


class Predicted:
    """Compiles a step for the card, on processor cores; the planner finds the figures in its own cache."""

    def __init__(self, config: dict[str, Any], plan: Plan, card: Card | None):
        compiler = Compiler(card, print, _COMPILE_S)
        compiler.figures("train", with_setting(ConfigDict(config), plan))

    def run(self) -> None:
        """Nothing is left to do."""

    def outputs(self) -> dict[str, np.ndarray]:
        """Nothing to compare."""
        return {}


def _plans(setting: Setting) -> list[Plan]:
    """Those without remat first: the networks' part has compiled them already."""
    patch = tuple(setting.config["data"]["patch_size"])
    choices = itertools.product(
        setting.amounts.remats, setting.amounts.dtypes, setting.amounts.planned_batches
    )
    return [Plan(patch, batch, 1, remat, dtype) for remat, dtype, batch in choices]


def _case(plan: Plan) -> str:
    return f"remat {plan.remat}, {plan.dtype}, batch {plan.batch}"


def _card() -> Card | None:
    kind = driver.ask("name")
    return card_of_kind(kind) if kind else None


def programs(setting: Setting) -> list[Program]:
    """The predictions, which need no card; then the steps that no other part has."""
    card, config = _card(), setting.with_model(separable=True)
    predictions = [
        Program(
            f"memory, {_case(plan)}",
            functools.partial(Predicted, config, plan, card),
            {"JAX_PLATFORMS": "cpu"},
        )
        for plan in _plans(setting)
    ]
    steps = [
        Program(
            f"memory, step, {_case(plan)}",
            functools.partial(
                jax_tasks.Step,
                setting.with_model(plan.batch, separable=True, dtype=plan.dtype, remat=plan.remat),
                setting.weights(True),
            ),
        )
        for plan in _plans(setting)
        if plan.remat != "none"
    ]
    return [*predictions, *steps]


def measure(setting: Setting) -> Iterator[dict[str, Any]]:
    """One result a setting, as each is done: bytes predicted, the peak, and the error as a share of the peak.

    `limit` is what the allocator says that it may use, `asked` what it was told.

    Raises:
        LookupError: a card that the planner has no figures of.
    """
    card, kind = _card(), driver.ask("name")
    if kind and card is None:
        raise LookupError(f"{kind}: no figures of it in dsdenseunet/memory/gpus")
    config, limit = ConfigDict(setting.with_model(separable=True)), setting.amounts.allocator_bytes
    environment = calibration.limited(card, limit) if card else {"JAX_PLATFORMS": "cpu"}
    known = setting.known("memory")
    plans = [plan for plan in _plans(setting) if _case(plan) not in known]
    setting.wait_for(*(f"memory, {_case(plan)}" for plan in plans))
    setting.wait_for(*(f"memory, step, {_case(plan)}" for plan in plans if plan.remat != "none"))
    space = Space(limit, HEADROOM, [plan.patch for plan in plans[:1]], (), (), ())
    rates = card or card_of_kind("NVIDIA H100 80GB HBM3")
    assert rates is not None
    search = Search(config, Compiler(card, setting.say, _COMPILE_S), rates, space, setting.say)
    for plan in plans:
        search.points.compile(plan)
    with ThreadPoolExecutor(min(_AT_ONCE, os.cpu_count() or 1)) as threads:
        jobs = {threads.submit(calibration.row, search, config, plan, environment): plan for plan in plans}
        for job in as_completed(jobs):
            plan, row = jobs[job], job.result()
            found: dict[str, Any] = {"case": _case(plan), "asked": limit, **(row or {"failed": "to compile"})}
            if found.get("peak"):
                found["error"] = round(abs(found["predicted"] / found["peak"] - 1), 4)
            setting.say(f"memory, {_case(plan)}: {found.get('error', 'no peak')}")
            yield found
