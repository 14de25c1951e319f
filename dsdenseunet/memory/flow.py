"""Where the maps that enter a network's stages come from, read off the traced program."""

from __future__ import annotations

from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import ClosedJaxpr, Literal

_MARK = "stage:"


def marked(array: jax.Array, stage: str) -> jax.Array:
    """The same array, known in the program as what `stage` gives."""
    return checkpoint_name(array, _MARK + stage)


def sources(program: ClosedJaxpr) -> dict[str, tuple[str, ...]]:
    """By stage those whose marked arrays its own is computed from, without another stage in between.

    Args:
        program: in which `marked` has named what every stage gives; in the order in which they run.
    """
    maker = {id(made): equation for equation in program.jaxpr.eqns for made in equation.outvars}
    found: dict[str, tuple[str, ...]] = {}
    for equation in program.jaxpr.eqns:
        if stage := _stage_of(equation):
            before = _before(equation, maker)
            # In their own order, which is that of the dictionary.
            found[stage] = tuple(name for name in found if name in before)
    return found


def _stage_of(equation: Any) -> str:
    name = equation.params.get("name") if equation.primitive.name == "name" else None
    return name.removeprefix(_MARK) if isinstance(name, str) and name.startswith(_MARK) else ""


def _before(equation: Any, maker: dict[int, Any]) -> set[str]:
    """Names of the nearest marked arrays on every way back from an equation."""
    names: set[str] = set()
    seen: set[int] = set()
    waiting = list(equation.invars)
    while waiting:
        entering = waiting.pop()
        if isinstance(entering, Literal) or id(entering) in seen or id(entering) not in maker:
            continue
        seen.add(id(entering))
        if stage := _stage_of(maker[id(entering)]):
            names.add(stage)
        else:
            waiting += maker[id(entering)].invars
    return names
