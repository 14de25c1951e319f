"""Predicted beside measured, on the card itself: how much must stay free, and how far times are off."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.memory.cards import Card
from dsdenseunet.memory.planner.compiler import CompilationError, Compiler, in_child
from dsdenseunet.memory.planner.law import Patch, Setting
from dsdenseunet.memory.planner.search import HEADROOM, Search, Space, with_setting
from dsdenseunet.models.network import Network
from dsdenseunet.runtime import environment
from dsdenseunet.training.settings import config_to_json

# Fewer settings say too little of a card.
LEAST = 20
# A prediction is good within this share of what was measured.
GOOD = 0.10
_STEPS = 6
_TIMEOUT_S = 900.0
_MODULE = "dsdenseunet.memory.planner.measured"
_LEAST_HEADROOM = 0.02


def settings_to_measure(
    network: Network, patches: Sequence[Patch], batches: Sequence[int] = (1, 2, 3, 4, 6, 8)
) -> list[Setting]:
    """All remats and precisions that the network has, of each patch with each batch."""
    choices = itertools.product(patches, batches, network.remats, network.dtypes)
    return [Setting(patch, batch, 1, remat, dtype) for patch, batch, remat, dtype in choices]


def calibrate(
    config: ConfigDict,
    card: Card,
    compiler: Compiler,
    settings: Sequence[Setting],
    limit_bytes: float,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Compiles each setting for the card, runs it there, and compares.

    Args:
        config: what is not in the settings.
        card: the one that is here.
        compiler: for that card.
        settings: at least `LEAST`.
        limit_bytes: of the allocator, such as an 8 GB card's.
        say: told of each setting, a line each.

    Returns:
        `summarise` of all of them, the rows, and what they were measured with; `Calibration.read` takes it.
    """
    patches = sorted({setting.patch for setting in settings}, reverse=True)
    space = Space(limit_bytes, HEADROOM, patches, (), (), ())
    search = Search(config, compiler, card, space, say)
    environment_of_card = limited(card, limit_bytes)
    rows = []
    for number, setting in enumerate(settings, 1):
        found = row(search, config, setting, environment_of_card)
        if found is None:
            continue
        rows.append(found)
        say(f"[{number}/{len(settings)}] {setting.flags(config.model)}: {found}")
    return {
        **summarise(rows),
        "config": config.name,
        "device": card.name,
        "limit_bytes": round(limit_bytes),
        "rows": rows,
        "provenance": environment.describe(("jax", "jaxlib", "flax")),
    }


def limited(card: Card, limit_bytes: float) -> dict[str, str]:
    """Variables with which a process' allocator may use so much of a card."""
    return {
        "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{limit_bytes / card.memory_bytes:.4f}",
        "JAX_PLATFORMS": "cuda",
    }


def row(
    search: Search, config: ConfigDict, setting: Setting, environment: Mapping[str, str]
) -> dict[str, Any] | None:
    """Compiles a setting, runs it in a process with these variables, and puts both side by side.

    Returns:
        The setting, `predicted` bytes, `said_to_fit`, `estimated_seconds`, and what `measured.measure` found
        or why it `failed`; None where it does not compile.
    """
    if not search.points.compile(setting):
        return None
    predicted = search.row(setting)
    request = {"config": config_to_json(with_setting(config, setting)), "steps": _STEPS}
    try:
        answer = in_child(_MODULE, request, environment, _TIMEOUT_S, setting.flags(config.model))
    except CompilationError as error:
        answer = {"failed": str(error)}
    return {
        **dataclasses.asdict(setting),
        "patch": list(setting.patch),
        "predicted": predicted.memory["total"],
        "said_to_fit": predicted.fits,
        "estimated_seconds": predicted.seconds,
        **answer,
    }


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What rows of predictions and measurements say.

    Returns:
        `measured`: rows with a peak; `enough`: whether they are `LEAST`; `worst_error`: of a prediction, as
        a share of the peak; `within_10_percent`; `wrongly_said_to_fit`: how many ran out of memory all the
        same; `headroom`: what would have covered every peak; `seconds_factor`: measured over estimated time.
    """
    known = [row for row in rows if row.get("peak")]
    if not known:
        raise ValueError("no setting was measured: the allocator does not say its peak, or everything failed")
    errors = [abs(row["predicted"] / row["peak"] - 1) for row in known]
    beyond = max(row["peak"] / row["predicted"] - 1 for row in known)
    return {
        "measured": len(known),
        "enough": len(known) >= LEAST,
        "worst_error": round(max(errors), 4),
        "within_10_percent": max(errors) <= GOOD,
        "wrongly_said_to_fit": sum("out_of_memory" in row and row["said_to_fit"] for row in rows),
        "headroom": max(_LEAST_HEADROOM, math.ceil(round(beyond * 100, 6)) / 100),
        "seconds_factor": round(
            statistics.median(row["seconds_per_step"] / row["estimated_seconds"] for row in known), 3
        ),
    }
