"""Weights of another run or phase as the start of a new one, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import numpy as np

from dsdenseunet.core.errors import InputError
from dsdenseunet.runtime import parallel
from dsdenseunet.training.state import TrainState, variables_of

_SHOWN = 5


def warm_start(state: TrainState, variables: Mapping[str, Any], source: str) -> TrainState:
    """Replaces the state's parameters and batch statistics by `variables`; momentum and step stay new.

    Prints how many arrays were loaded, and names every one that is missing from `variables`, has
    another shape or type there, or has no place in this network.

    Args:
      state: a new state.
      variables: {"params", "batch_stats"}, as `checkpoint.load_best` gives them.
      source: where they come from, for the message.

    Raises:
        InputError: not every array of the state was found, or some have no place in it.
    """
    wanted = _flat(variables_of(state))
    offered = _flat(variables)
    missing = sorted(set(wanted) - set(offered))
    unexpected = sorted(set(offered) - set(wanted))
    mismatched = [
        f"{name} ({_form(offered[name])} for {_form(wanted[name])})"
        for name in sorted(set(wanted) & set(offered))
        if _form(offered[name]) != _form(wanted[name])
    ]
    loaded = len(wanted) - len(missing) - len(mismatched)
    if parallel.process_index() == 0:
        print(
            f"warm start from {source}: {loaded} of {len(wanted)} arrays loaded, {len(missing)} missing, "
            f"{len(mismatched)} mismatched, {len(unexpected)} unexpected",
            flush=True,
        )
    problems = {"missing": missing, "mismatched": mismatched, "unexpected": unexpected}
    found = "; ".join(f"{kind}: {_listed(names)}" for kind, names in problems.items() if names)
    if found:
        raise InputError(
            source,
            found=found,
            expected=f"all {len(wanted)} arrays of this network and no others",
            fix="give the config.model that the weights were trained with, or start from other weights",
        )
    return state.replace(params=variables["params"], batch_stats=variables["batch_stats"])


def _flat(variables: Mapping[str, Any]) -> dict[str, Any]:
    return flax.traverse_util.flatten_dict(dict(variables), sep="/")


def _form(array: Any) -> str:
    return f"{np.dtype(array.dtype).name}{list(array.shape)}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
