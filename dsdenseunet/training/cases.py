"""Which cases a run trains and validates on, said at each start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dsdenseunet.core.words import counted, some
from dsdenseunet.data.cache import Cache
from dsdenseunet.training.provenance import PROVENANCE_FILE

_NAMED = 3


def in_words(cache: Cache, train: Sequence[str], validation: Sequence[str], workdir: Path) -> list[str]:
    """How many cases are used and where their names are, and what has changed since they were prepared."""
    lines = [
        f"training on {counted(len(train), 'case')}, validating on {len(validation)}, "
        f"of the {len(cache.names)} in {cache.root} (their names: {workdir / PROVENANCE_FILE})"
    ]
    changed = cache.changed_sources((*train, *validation))
    if changed:
        named = some([str(path) for path in changed], _NAMED)
        lines.append(
            f"NOTE: {counted(len(changed), 'file')} changed since they were prepared: {named}; "
            "to train on them as they are now, run `python -m experiments.prepare` again first"
        )
    return lines


def as_json(train: Sequence[str], validation: Sequence[str]) -> dict[str, list[str]]:
    """For `provenance.json`: the names, in the order in which they are used."""
    return {"training": list(train), "validation": list(validation)}
