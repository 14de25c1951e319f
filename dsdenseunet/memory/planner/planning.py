"""From the planner's flags to its answer."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.memory import cards
from dsdenseunet.memory.planner.compiler import Compiler, has_gpu_compiler
from dsdenseunet.memory.planner.law import Patch, Setting
from dsdenseunet.memory.planner.plan import GIB, Calibration, make_plan, patches_below
from dsdenseunet.memory.planner.search import Space, with_setting
from dsdenseunet.memory.planner.text import summary, table
from dsdenseunet.models import registry
from dsdenseunet.training.settings import check_config

# Up to here every batch, then in steps.
_FINE = 16


def run(
    config: ConfigDict,
    *,
    device: str,
    budget_gib: float | None = None,
    patches: Sequence[str] = (),
    remats: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    max_batch: int = 32,
    timeout_s: float = 900.0,
    calibration: str | None = None,
    out: str | None = None,
    compare: bool = True,
) -> dict[str, Any]:
    """Plans, prints, and writes plan.json to `out` and to the cache, where the advice on memory finds it.

    Args:
        config: what is planned for.
        device: a card's name.
        budget_gib: how much of the card to use; None: all of it.
        patches: as DxHxW; none: the config's and two smaller ones.
        remats: which to try of the network's; none: all.
        dtypes: likewise.
        max_batch: the most patches at once.
        timeout_s: a compilation that takes longer has failed.
        calibration: file of a calibration on the card.
        out: folder for plan.json.
        compare: also the other kind of convolution, and accumulation.

    Returns:
        As `plan.make_plan`.

    Raises:
        InputError: a config, card, patch, remat or precision that does not exist.
    """
    check_config(config)
    card = cards.card(device)
    network = registry.build(config.model)
    stride, remats, dtypes = network.stride, remats or list(network.remats), dtypes or network.dtypes
    chosen = _patches(patches) or patches_below(tuple(config.data.patch_size), stride)
    for patch in chosen:
        registry.check_patch(stride, patch, "--patches" if patches else "config.data.patch_size")
    _check("--remats", remats, network.remats)
    _check("--dtypes", dtypes, network.dtypes)
    known = Calibration.read(calibration)
    budget = card.memory_bytes / GIB if budget_gib is None else budget_gib
    space = Space(
        available=min(budget * GIB, card.memory_bytes) * card.usable_share,
        headroom=known.headroom,
        patches=chosen,
        remats=remats,
        dtypes=dtypes,
        batches=[n for n in range(1, max_batch + 1) if n <= _FINE or n % 4 == 0],
    )
    compiler = Compiler(card if has_gpu_compiler() else None, _say, timeout_s)
    plan = make_plan(config, card, compiler, space, known, budget, _say, compare)
    print(f"\n{table(plan)}\n\n{summary(plan)}")
    files.write_json(files.cache_folder() / "plans" / f"{_name(plan)}.json", plan)
    if out:
        files.write_json(Path(out) / "plan.json", plan)
    return plan


def config_of(config: ConfigDict, row: Mapping[str, Any]) -> ConfigDict:
    """A copy of a config with the settings of a row of its plan, such as `plan["recommended"]`."""
    values = {field.name: row[field.name] for field in dataclasses.fields(Setting)}
    return with_setting(config, Setting(**{**values, "patch": tuple(row["patch"])}))


def touch_no_card() -> None:
    """Keeps JAX from any card that there is: it may be busy, and its memory is not for planning."""
    jax.config.update("jax_platforms", "cpu")
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"


def _say(line: str) -> None:
    print(line, flush=True)


def _name(plan: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps([plan["config"], plan["device"], plan["budget_gib"]]).encode())
    return digest.hexdigest()[:16]


def _patches(texts: Sequence[str]) -> list[Patch]:
    patches: list[Patch] = []
    for text in texts:
        sides = text.split("x")
        if len(sides) != 3 or not all(side.isdigit() for side in sides):
            raise InputError(
                "--patches",
                found=text,
                expected="DxHxW, such as 12x224x224",
                fix="separate several by commas",
            )
        patches.append((int(sides[0]), int(sides[1]), int(sides[2])))
    return patches


def _check(flag: str, given: Sequence[str], known: Collection[str]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InputError(
            flag,
            found=",".join(given),
            expected=f"some of {','.join(known)}",
            fix="name known ones",
        )
