"""Exhausted device memory: how to recognise it, and which settings fit according to earlier plans."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError

GIB = 2**30
# Messages of the driver and its libraries when the memory that they allocate beside JAX is exhausted. cuDNN
# reports it as an algorithm that could not be chosen, or as a handle that could not be created.
_OUTSIDE = (
    "Failed to determine best cudnn convolution algorithm",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "ould not create cudnn handle",
    "ould not create cublas handle",
)
_SIGNS = ("RESOURCE_EXHAUSTED", "ut of memory", *_OUTSIDE)
_FRACTION = "XLA_PYTHON_CLIENT_MEM_FRACTION"
# JAX's own choice, and the most and least that make sense on a card.
_FRACTIONS = 0.75, 0.9, 0.3
# The name of a device, and the bytes that its allocator may use, if known.
Device = tuple[str, int | None]
_MOST = 3
# Fields of a network that save memory and leave the weights as they are, and the value for a network without
# them.
_TRADED = {"remat": "none", "dtype": "float32"}


def is_cause(error: BaseException) -> bool:
    """Whether the error tells of exhausted memory of a device."""
    return any(sign in str(error) for sign in _SIGNS)


def first_line(error: BaseException) -> str:
    """The error's first line."""
    lines = str(error).strip().splitlines()
    return f"exhausted: {lines[0][:300]}" if lines else "exhausted"


def fraction(error: BaseException, device: Device) -> list[str]:
    """Another share of a card's memory for JAX, where that may help: less if the failure lies outside it."""
    if device[1] is None:
        return []
    usual, most, least = _FRACTIONS
    try:
        now = float(os.environ.get(_FRACTION) or usual)
    except ValueError:
        now = usual
    if any(sign in str(error) for sign in _OUTSIDE):
        less = round(max(now - 0.15, least), 2)
        if less < now:
            return [
                f"{_FRACTION}={less:g} in the environment, as cuDNN and the driver need room beside what JAX "
                f"takes, {now:g} of the card"
            ]
    elif now < most:
        return [f"{_FRACTION}={most:g} in the environment lets JAX use more than {now:g} of the card"]
    return []


def planned(config: Mapping[str, Any], device: Device, devices: int, remats: Collection[str]) -> list[str]:
    """What fits such a device by the plans of `experiments.plan_memory`, smaller than what was asked for.

    Args:
        config: `model`, `data` and `training` of the run that failed.
        device: what it ran on.
        devices: how many share the batch.
        remats: that the network has; older plans know others.

    Returns:
        At most three settings as flags, the fastest by estimate first, as one sentence; nothing without a
        plan for this network and at most this much memory.
    """
    asked = _asked(config, devices)
    for plan in _plans(config["model"], device):
        rows = [row for row in plan["rows"] if row["fits"] and row["patch"] == asked["patch"]]
        rows = [row for row in rows if row["remat"] in remats]
        if not rows:
            continue
        # The plan knows what was asked for, or nothing is known of it and everything that fits is offered.
        need = _need(plan, asked)
        smaller = [row for row in rows if need is None or row["memory"]["total"] < need]
        flags = [
            f"--config.data.batch_size={row['batch'] * devices} "
            f"--config.training.accumulate={row['accumulate']} "
            + "".join(f"--config.model.{name}={row[name]} " for name in _TRADED if name in config["model"])
            + f"({row['memory']['total'] / GIB:.1f} GiB)"
            for row in _different(smaller)
        ]
        if flags:
            return [
                f"by the plan for {plan['device_kind']} and {plan['budget_gib']:g} GiB, " + " or ".join(flags)
            ]
    return []


def planned_bytes(config: Mapping[str, Any], device: Device, devices: int) -> int | None:
    """What a run needs on each of its devices by the plans for these; None where no plan has its settings."""
    asked = _asked(config, devices)
    needs = (
        _need(plan, asked) for plan in _plans(config["model"], device) if plan["device_kind"] == device[0]
    )
    return next((need for need in needs if need is not None), None)


def _need(plan: Mapping[str, Any], asked: Mapping[str, Any]) -> int | None:
    rows = (row for row in plan["rows"] if row["memory"] and all(row[name] == asked[name] for name in asked))
    return next((row["memory"]["total"] for row in rows), None)


def command(config_name: str, device: Device) -> str:
    """The planner's call for a config and a device."""
    kind, limit = device
    name, _, variant = config_name.partition(":")
    budget = f" --budget_gib={limit / GIB:.1f}" if limit else " --budget_gib=8"
    card = f" --device='{kind}'" if "NVIDIA" in kind or "Tesla" in kind else ""
    return (
        "to see what fits: python -m experiments.plan_memory "
        f"--config=configs/{name}.py{':' + variant if variant else ''}{budget}{card}"
    )


def _asked(config: Mapping[str, Any], devices: int) -> dict[str, Any]:
    return {
        "patch": list(config["data"]["patch_size"]),
        "batch": config["data"]["batch_size"] // devices,
        "accumulate": config["training"]["accumulate"],
        **{name: config["model"].get(name, usual) for name, usual in _TRADED.items()},
    }


def _plans(model: Mapping[str, Any], device: Device) -> Iterator[dict[str, Any]]:
    """Plans for this network that fit: those for the very device first, then those for more memory."""
    kind, limit = device
    found = []
    for path in _files():
        try:
            plan = files.read_object(path, "model", "device_kind", "available_gib", "budget_gib", "rows")
        except InputError:
            continue
        if _network(plan["model"]) != _network(model) or (limit and plan["available_gib"] * GIB > limit):
            continue
        found.append(plan)
    yield from sorted(found, key=lambda plan: (plan["device_kind"] != kind, -plan["available_gib"]))


def _files() -> list[Path]:
    """The user's own plans, and those that come with the package."""
    published = Path(str(resources.files("dsdenseunet").joinpath("memory/plans")))
    return [*sorted((files.cache_folder() / "plans").glob("*.json")), *sorted(published.glob("*.json"))]


def _network(model: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in model.items()}
    return {name: value for name, value in plain.items() if name not in _TRADED}


def _different(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first row of each precision and remat."""
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        seen.setdefault((row["dtype"], row["remat"]), row)
    return list(seen.values())[:_MOST]
