"""Weights of another run or phase as the start of a new one: all except those that the config leaves out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.traverse_util
import numpy as np

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import some
from dsdenseunet.runtime import parallel
from dsdenseunet.training.arrays import check_patterns, matches, named
from dsdenseunet.training.state import TrainState, variables_of

_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Start:
    """What a phase starts from.

    Attributes:
        source: where the weights come from, in words.
        variables: {"params", "batch_stats"}, as `checkpoint.load_best` gives them.
        leave_out: patterns of the names of arrays that are not taken.
    """

    source: str
    variables: Mapping[str, Any]
    leave_out: tuple[str, ...] = ()


def warm_start(
    state: TrainState,
    start: Start,
    field: str = "leave_out",
    adapted: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda params: params,
) -> TrainState:
    """Replaces the state's parameters and batch statistics by those of `start`; momentum and step stay new.

    Prints how many arrays were loaded, and names every one that is missing, has another shape or type there,
    or has no place in this network; those that were left out because that was asked for; and how many
    parameters the network has brought to another shape.

    Args:
      state: a new state.
      start: where its arrays come from.
      field: the dotted name of the field that `start.leave_out` is from.
      adapted: what the network makes of parameters of a related one, see `Network.adapted`.

    Raises:
        InputError: not every array of the state was found, or some have no place in it, and they were not
            left out; or a pattern of what to leave out fits no array.
    """
    given = named(start.variables)
    mine = named(variables_of(state))
    its = named({**start.variables, "params": adapted(start.variables["params"])})
    reshaped = sum(_form(its[name]) != _form(array) for name, array in given.items())
    check_patterns(start.leave_out, sorted(mine.keys() | its.keys()), field)
    left_out = {name for name in mine.keys() | its.keys() if matches(name, start.leave_out)}
    wanted, offered = mine.keys() - left_out, its.keys() - left_out
    missing, unexpected = sorted(wanted - offered), sorted(offered - wanted)
    mismatched = [
        f"{name} ({_form(its[name])} for {_form(mine[name])})"
        for name in sorted(wanted & offered)
        if _form(its[name]) != _form(mine[name])
    ]
    loaded = len(wanted) - len(missing) - len(mismatched)
    if parallel.process_index() == 0:
        print(
            f"warm start from {start.source}: {loaded} of {len(mine)} arrays loaded, {len(missing)} missing, "
            f"{len(mismatched)} mismatched, {len(unexpected)} unexpected"
            + (f", {reshaped} brought to another shape" if reshaped else "")
            + (f", left out as asked for: {', '.join(sorted(left_out))}" if left_out else ""),
            flush=True,
        )
    problems = {"missing": missing, "mismatched": mismatched, "unexpected": unexpected}
    found = "; ".join(f"{kind}: {some(names, _SHOWN)}" for kind, names in problems.items() if names)
    if found:
        raise InputError(
            start.source,
            found=found,
            expected=f"all {len(wanted)} arrays of this network and no others",
            fix="give the config.model that the weights were trained with, start from other weights, or name "
            f"what is to be left out with --config.{field}",
        )
    both = flax.traverse_util.unflatten_dict(mine | {name: its[name] for name in wanted}, sep="/")
    return state.replace(params=both["params"], batch_stats=both.get("batch_stats", {}))


def _form(array: Any) -> str:
    return f"{np.dtype(array.dtype).name}{list(array.shape)}"
