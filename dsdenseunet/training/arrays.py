"""Names of a network's arrays, such as "params/stem/conv/kernel", and patterns that choose among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import flax.traverse_util
import jax

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import counted


def named(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of {"params", "batch_stats"} by their names."""
    return flax.traverse_util.flatten_dict(dict(variables), sep="/")


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits one of the patterns, in which * stands for any text, / included."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def check_patterns(patterns: Iterable[str], names: Sequence[str], field: str) -> None:
    """Refuses a pattern that no name fits.

    Args:
        patterns: those of a field.
        names: of all arrays that it may choose.
        field: its dotted name.

    Raises:
        InputError: the first such pattern.
    """
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            first = sorted(names)[0] if names else "none"
            raise InputError(
                f"config.{field}",
                found=f"{pattern!r}, which fits no array",
                expected=f"patterns of the names of {counted(len(names), 'array')}, such as {first}",
                fix="correct it; python -m experiments.describe lists the network's parts",
            )


def replaced(tree: Any, other: Any, collection: str, patterns: Sequence[str]) -> Any:
    """`tree` with the arrays of `other` in the places whose names fit the patterns.

    Args:
        tree: of the arrays of one collection.
        other: of the same structure.
        collection: "params" or "batch_stats".
        patterns: of names.
    """
    if not patterns:
        return tree

    def choose(path: jax.tree_util.KeyPath, mine: Any, its: Any) -> Any:
        return its if matches(name_of(collection, path), patterns) else mine

    return jax.tree_util.tree_map_with_path(choose, tree, other)


def name_of(collection: str, path: jax.tree_util.KeyPath) -> str:
    """The name of the array at a path in the tree of a collection."""
    return f"{collection}/{jax.tree_util.keystr(path, simple=True, separator='/')}"
