"""The whole answer for one config and one card: what fits, what it costs, what to type."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.core import files
from dsdenseunet.memory.cards import Card
from dsdenseunet.memory.planner.compiler import CompilationError, Compiler
from dsdenseunet.memory.planner.law import LAUNCH_S, Patch, Setting
from dsdenseunet.memory.planner.search import HEADROOM, Search, Space, with_setting
from dsdenseunet.models.network import traded
from dsdenseunet.runtime import environment
from dsdenseunet.training.settings import config_to_json

GIB = 2**30
# Large CTs: 512 x 512 x 1000.
VOLUME = (1000, 512, 512)
COMPILERS = {
    True: "XLA for GPUs, compiling for the card without having it",
    False: "XLA for CPUs: an ESTIMATE, install the extra cuda12 for the card's own figures",
}


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What measurements on the card say about predictions; without them the defaults stand.

    Attributes:
        headroom: share of a prediction that must be left free on top of it.
        seconds_factor: measured over estimated seconds of a step.
        source: where it is from.
    """

    headroom: float = HEADROOM
    seconds_factor: float = 1.0
    source: str = "none: default headroom, peak rates"

    @classmethod
    def read(cls, path: str | Path | None) -> Calibration:
        """From a file that `calibration.calibrate` wrote."""
        if path is None:
            return cls()
        values = files.read_object(path, "headroom", "seconds_factor")
        return cls(values["headroom"], values["seconds_factor"], str(path))


def patches_below(patch: Patch, stride: Patch) -> list[Patch]:
    """The config's patch, and those with about half and a quarter of its plane."""
    result = [patch]
    for share in (0.7, 0.5):
        sides = [max(s, round(p * share / s) * s) for p, s in zip(patch[1:], stride[1:])]
        smaller = (patch[0], sides[0], sides[1])
        if smaller not in result:
            result.append(smaller)
    return result


def make_plan(
    config: ConfigDict,
    card: Card,
    compiler: Compiler,
    space: Space,
    calibration: Calibration,
    budget_gib: float,
    say: Callable[[str], None],
    compare: bool = True,
) -> dict[str, Any]:
    """Compiles, compares and recommends.

    Args:
        config: its model, loss, optimiser and inference fields are what is planned for.
        card: what to plan for.
        compiler: gives figures of programs; for a card or for this machine's processor.
        space: what is searched.
        calibration: of earlier measurements.
        budget_gib: what the user wants to use of the card.
        say: told of progress, a line each.
        compare: also compile the other kind of convolution, and accumulation.

    Returns:
        Plain values: `rows` as `search.Row.as_json` says, `recommended`, `beside` (the other kind of
        convolution with the recommended settings), `points` (the compiler's figures), `inference`, and what
        it all stands on.
    """
    most = space.most_compilations() + (4 if compare else 2)
    say(
        f"{config.name} on {card.device_kind}: at most {most} programs to compile, "
        "one or two minutes each for the whole network on two cores; what was compiled before is taken "
        f"from {compiler.folder}"
    )
    search = Search(config, compiler, card, space, say, calibration.seconds_factor)
    best = search.run()
    rows = search.rows()
    chosen = best or next((row for row in rows if row.fits), None)
    remat, dtype = (
        (chosen.setting.remat, chosen.setting.dtype) if chosen else (space.remats[-1], space.dtypes[-1])
    )
    if compare:
        search.points.compile(Setting(space.patches[0], 2, 2, remat, dtype))
    compared = Setting(space.patches[0], 1, 1, remat, dtype)
    inference = _attempt(_inference, compiler, with_setting(config, compared))
    state = max((sum(row.memory[n] for n in _STATE) for row in rows if row.memory), default=0)
    return {
        "config": config.name,
        "model": config_to_json(config)["model"],
        "device": card.name,
        "device_kind": card.device_kind,
        "card": dataclasses.asdict(card),
        "compiler": COMPILERS[compiler.card is not None],
        "is_estimate": compiler.card is None,
        "budget_gib": budget_gib,
        "available_gib": _gib(space.available),
        "headroom": calibration.headroom,
        "seconds_factor": calibration.seconds_factor,
        "launch_s": LAUNCH_S,
        "calibration": calibration.source,
        "recommended": best.as_json() if best else None,
        "flags": best.setting.flags(config.model) if best else None,
        "rows": [row.as_json() for row in search.rows()],
        "points": [{**dataclasses.asdict(one), **figures} for one, figures in search.points.known.items()],
        "beside": _beside(config, compiler, compared) if compare and "separable" in config.model else None,
        "inference": inference,
        # Validation runs between two steps, with the training state on the device.
        "validation_gib": _gib(state + inference["total"]) if "total" in inference else None,
        "compiled_now": compiler.compiled,
        "provenance": environment.describe(("jax", "jaxlib", "flax", "optax")),
    }


_STATE = ("parameters", "statistics", "optimiser")


def _gib(size: float) -> float:
    return round(size / GIB, 3)


def _attempt(
    work: Callable[[Compiler, ConfigDict], dict[str, Any]], compiler: Compiler, config: ConfigDict
) -> dict[str, Any]:
    try:
        return work(compiler, config)
    except CompilationError as error:
        return {"status": f"failed: {error}"}


def _beside(config: ConfigDict, compiler: Compiler, setting: Setting) -> dict[str, Any]:
    """Memory of the step with separable and with standard convolutions, with the same settings."""
    result: dict[str, Any] = {"setting": dataclasses.asdict(setting)}
    for kind, separable in (("separable", True), ("standard", False)):
        one = with_setting(config, setting)
        one.model.separable = separable
        result[kind] = _attempt(_step, compiler, one)
    return result


def _step(compiler: Compiler, config: ConfigDict) -> dict[str, Any]:
    figures = compiler.figures("train", config)
    moved = figures["bytes_accessed"]
    return {**figures["parts"], "temp": figures["memory"]["temp"], "bytes_accessed": moved}


def _inference(compiler: Compiler, config: ConfigDict) -> dict[str, Any]:
    """What a whole volume needs: the weights, two slabs, the accumulator, and the largest program's own."""
    network = compiler.figures("inference", config)
    around = compiler.figures("volume", config, volume=list(VOLUME))["memory"]
    weights = network["parts"]["variables"]
    window = around["add"]["alias"]
    held = {
        "weights": weights,
        "slabs": 2 * (around["cut"]["argument"] - 8 * config.inference.batch_size),
        "accumulator": window,
    }
    # Beyond what is held already: the patches and probabilities, and the temporary memory.
    own = {
        "network": network["memory"]["temp"]
        + network["memory"]["output"]
        + network["memory"]["argument"]
        - weights,
        "add": around["add"]["temp"] + around["add"]["argument"] - window,
        "advance": around["advance"]["temp"] + around["advance"]["output"],
    }
    largest = max(own, key=lambda name: own[name])
    return {
        "volume": list(VOLUME),
        "patch": list(config.data.patch_size),
        "batch": config.inference.batch_size,
        "dtype": traded(config.model)[1],
        "held": held,
        "programs": own,
        "largest": largest,
        "total": sum(held.values()) + own[largest],
    }
