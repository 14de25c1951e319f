"""Each table and figure of the paper as an item: what makes its record, which every page derives from."""

from __future__ import annotations

import dataclasses
import functools
import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dsdenseunet.core import files
from dsdenseunet.data.cache import Cache
from dsdenseunet.reporting.reproduction.page import write_page
from dsdenseunet.reporting.reproduction.section import Section
from dsdenseunet.runtime import environment
from dsdenseunet.runtime.stages import Chain
from experiments.benchmarks.publishing.markdown import table
from experiments.benchmarks.reproduction import counts, epochs, methods, training

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy")


@dataclasses.dataclass(frozen=True)
class Request:
    """What was asked for.

    Attributes:
        out: folder for records, pictures, page, and whatever is trained for them.
        demo: folder of the demo, whose run is the figures' where there is no data set.
        data: folder of a data set in LiTS layout; None: there is none.
    """

    out: Path
    demo: Path
    data: Path | None

    def command(self, item: str) -> str:
        """What repeats an item."""
        data = [f"--data={self.data}"] if self.data else []
        return shlex.join(["python", "-m", "experiments.reproduce", item, f"--out={self.out}", *data])


def parameters(request: Request) -> dict[str, Any]:
    """Table 3."""
    del request
    no_data = "none: parameters are counted"
    return {"data": {"name": "no data", "description": no_data}, "made": [made_now()], **counts.table_3()}


def epoch_times(request: Request) -> dict[str, Any]:
    """Table 2: the whole protocol on a data set, a smaller one on phantoms."""
    chain, protocol = Chain(request.out), epochs.FULL if request.data else epochs.REDUCED
    folder = request.data or epochs.phantoms(chain, request.out, protocol)
    cache = epochs.prepared(chain, request.out, folder)
    data = of_folder(cache, folder) if request.data else PHANTOMS
    return {"data": data, **epochs.table_2(chain, request.out, cache, protocol)}


def compared(request: Request, *, counted: bool) -> dict[str, Any]:
    """Table 1, and what figures 3 and 4 show of it; without a data set the paper's values alone."""
    dice: dict[str, Any] = {}
    made, data = [made_now()], {"name": "LiTS", "description": "none: ours are not run"}
    if request.data:
        chain = Chain(request.out)
        dice, made = methods.compared(chain, request.out, request.data)
        data = of_folder(epochs.prepared(chain, request.out, request.data), request.data)
    lits = Request(request.out, request.demo, request.data or Path("LiTS"))
    return {
        "data": data,
        "made": made,
        "run": lits.command("table1"),
        "rows": methods.rows(dice, counted=counted),
    }


def runs(request: Request) -> dict[str, Any]:
    """Figures 2 and 5: the demo's run, or the paper's cascade on a data set."""
    chain = Chain(request.out)
    if request.data is None:
        return training.of_demo(chain, request.demo)
    cache = epochs.prepared(chain, request.out, request.data)
    data = of_folder(cache, request.data)
    return {"data": data, **training.of_data(chain, request.out, cache, request.data)}


PHANTOMS = {
    "name": "phantoms, not CTs",
    "description": "synthetic CTs made by this program (experiments.make_phantoms); no patient is in them",
}


def of_folder(cache: Path, folder: Path) -> dict[str, Any]:
    """What is known of a data set of the user's."""
    names = Cache.open(cache).names
    return {
        "name": f"{folder.resolve().name} ({len(names)} cases)",
        "description": f"{len(names)} labelled cases of {folder.resolve()}",
    }


def made_now() -> dict[str, Any]:
    """What a number that is computed now carries."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return {"started": started, **environment.describe(LIBRARIES)}


# In the order in which they are made: seconds first.
ITEMS: Mapping[str, Callable[[Request], dict[str, Any]]] = {
    "table3": parameters,
    "table1": functools.partial(compared, counted=True),
    "figure3": functools.partial(compared, counted=False),
    "figure4": functools.partial(compared, counted=False),
    "figure2": runs,
    "figure5": runs,
    "table2": epoch_times,
}


def reproduce(names: list[str], request: Request, say: Callable[[str], None]) -> Path:
    """Makes the items that are named, says each as Markdown, and writes the page of all that are there.

    Returns:
        The page's path.

    Raises:
        StageFailedError: a command that makes one of them failed; those before it are written.
    """
    page = request.out
    for name in names:
        record = {"item": name, "command": request.command(name), **ITEMS[name](request)}
        files.write_json(request.out / f"{name}.json", record)
        page, sections = write_page(request.out, read(request.out))
        say(f"\n{markdown(sections[name])}")
    return page


def markdown(section: Section) -> str:
    """A section as it is shown on a terminal."""
    facts = "\n".join(f"{name}: {text}" for name, text in section.facts)
    return "\n\n".join([f"## {section.title}", body(section), facts])


def body(section: Section) -> str:
    """Its tables and sentences alone."""
    tables = [f"{one.caption}\n\n{table(one.headings, one.rows)}" for one in section.tables]
    return "\n\n".join([*tables, "\n".join(f"- {note}" for note in section.notes)])


def read(out: Path) -> dict[str, Any]:
    """The records that this or an earlier command has written.

    Raises:
        InputError: one of them is damaged.
    """
    paths = {name: out / f"{name}.json" for name in ITEMS}
    return {name: files.read_object(path, "item") for name, path in paths.items() if path.is_file()}
