"""What is shown of one table or figure of the paper: tables, sentences, pictures, and their origin."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from dsdenseunet.core.words import counted

Record = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under headings; `caption` says what they show, and of what."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A figure that is to be drawn, as `name`.png and `name`.pdf; `title` says what it shows, and of what."""

    name: str
    title: str
    figure: Callable[[], Figure]


@dataclasses.dataclass(frozen=True)
class Section:
    """One item of the paper.

    Attributes:
        title: which, and what ours was made on.
        tables: the paper's values beside ours.
        notes: sentences: where the two differ, and why.
        drawings: the figures.
        facts: data, machine, code: (name, text).
    """

    title: str
    tables: Sequence[Table]
    notes: Sequence[str]
    drawings: Sequence[Drawing] = ()
    facts: Sequence[tuple[str, str]] = ()


def facts(record: Record) -> list[tuple[str, str]]:
    """Where a record's numbers come from."""
    found = [("Data", record["data"]["description"])]
    if attribution := record["data"].get("attribution"):
        found.append(("Attribution", attribution))
    for made in record["made"]:
        uncommitted = " with uncommitted changes" if made["uncommitted_changes_sha256"] else ""
        commit = f"{made['commit'][:12]}{uncommitted}" if made["commit"] else "not run from a clone"
        hardware = made["hardware"]
        device = hardware.get("device_kind", "cpu")
        on = "" if device == "cpu" else f", computing on {hardware['devices']} x {device}"
        processor = hardware.get("processor", hardware["machine"])
        versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items() if version)
        found += [
            (f"Made {made['started'][:10]}", f"commit {commit}; {versions}"),
            ("Hardware", f"{counted(hardware['cpu_cores'], 'core')} of an {processor}{on}"),
        ]
    return [*found, ("Command", record["command"])]
