"""The blocks of the documents that are made of docs/results: between two marks, written by one command."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from experiments.benchmarks.gpu.setting import Amounts
from experiments.benchmarks.publishing import (
    comparison_markdown,
    cpu_tables,
    gpu_tables,
    mednext_tables,
    separable,
    spacing,
)
from experiments.benchmarks.publishing.markdown import met, table

RESULTS = "docs/results"
CPU, MEDNEXT, GPU = "benchmark_cpu.json", "benchmark_mednext.json", "benchmark_gpu.json"
DEPTHWISE = "benchmark_depthwise.json"
SPACING = "spacing_lits14.json"
# Of experiments.compare, by the blocks that show them.
COMPARISONS = {
    "peers": "comparison_hippocampus.json",
    "choices": "choices_hippocampus.json",
    "families": "families_hippocampus.json",
    "lits14": "families_lits14.json",
}
# What they are made of, where the name of the folder does not say it.
DATA = {"lits14": "14 LiTS cases, every second slice, 256 x 256, -40 to 160 HU"}
# Of those with one budget: who is ahead by how much.
PICTURES = {name: f"docs/images/{name}.png" for name in ("choices", "families", "lits14")}
DOCUMENTS = (
    "README.md",
    "docs/explanation/speed.md",
    "docs/explanation/depthwise.md",
    "docs/explanation/comparison.md",
    "docs/explanation/choices.md",
    "docs/explanation/families.md",
    "docs/explanation/separable.md",
    "docs/explanation/configure.md",
)

Records = Mapping[str, Mapping[str, Any]]


def _summary(records: Records) -> str:
    """Every target, for the README."""
    # By target: a record of all of MedNeXt's parts has the convolutions' too, and that of their own counts.
    found: dict[str, tuple[str, ...]] = {}
    for name in (CPU, MEDNEXT, DEPTHWISE):
        if name in records:
            hardware = records[name]["provenance"]["hardware"]
            # MedNeXt's targets are of a number of cores, which they name.
            cores = f"{hardware['cpu_cores']} cores of " if name == CPU else ""
            for target in records[name]["targets"]:
                measured, where = f"{target['measured']:.3g}", f"{cores}an {hardware['processor']}"
                found[target["target"]] = (target["target"], measured, where, met(target))
    rows = list(found.values())
    gpu = records.get(GPU)
    where = gpu["provenance"]["hardware"]["device_kind"] if gpu else "an H100"
    rows += [(text, measured, where, state) for text, measured, _, state in gpu_tables.targets(gpu)]
    return table(("target", "measured", "on", ""), rows)


def _compared(name: str, records: Records) -> str:
    return comparison_markdown.markdown(records.get(name))


def _separable(records: Records) -> str:
    return separable.markdown({name: records[file] for name, file in COMPARISONS.items() if file in records})


# By their names in the marks.
BLOCKS: dict[str, Callable[[Records], str]] = {
    "targets": _summary,
    "cpu": lambda records: cpu_tables.markdown(records[CPU]),
    "gpu": lambda records: gpu_tables.markdown(records.get(GPU)),
    "mednext": lambda records: mednext_tables.networks(records.get(MEDNEXT)),
    "depthwise": lambda records: mednext_tables.convolutions(records.get(DEPTHWISE)),
    "leads": lambda records: comparison_markdown.summary(records.get(COMPARISONS["peers"])),
    "spacing": lambda records: spacing.markdown(records.get(SPACING)),
    "separable": _separable,
    **{name: functools.partial(_compared, file) for name, file in COMPARISONS.items()},
}
_BLOCK = re.compile(r"(<!-- benchmark: (\w+) -->\n).*?(\n<!-- end -->)", re.DOTALL)


def read(root: Path) -> dict[str, Any]:
    """The records that there are, by the names of their files."""
    paths = [root / RESULTS / name for name in (CPU, MEDNEXT, DEPTHWISE, GPU, SPACING, *COMPARISONS.values())]
    return {path.name: files.read_json(path) for path in paths if path.is_file()}


def filled(text: str, records: Records) -> str:
    """A document with every block made anew.

    Raises:
        InputError: a block of an unknown name.
    """

    def fill(match: re.Match[str]) -> str:
        if match[2] not in BLOCKS:
            raise InputError(
                f"<!-- benchmark: {match[2]} -->",
                found="a block of an unknown name",
                expected=f"one of {', '.join(BLOCKS)}",
                fix="name a known one",
            )
        return f"{match[1]}\n{BLOCKS[match[2]](records)}\n{match[3]}"

    return _BLOCK.sub(fill, text)


def check_gpu(record: Mapping[str, Any], path: str) -> None:
    """Refuses what is no measurement of a GPU.

    Raises:
        InputError: a rehearsal, or a run on another device.
    """
    made_with = record["provenance"]
    backend = made_with.get("hardware", {}).get("backend")
    usual = json.loads(json.dumps(dataclasses.asdict(Amounts())))
    if backend != "gpu" or made_with.get("amounts") != usual:
        raise InputError(
            path,
            found=f"a run on {backend or 'nothing'}" if backend != "gpu" else "a rehearsal",
            expected="a whole run on an NVIDIA GPU",
            fix="name the benchmark_gpu.json that python -m experiments.benchmark_gpu wrote there",
        )


def comparison_of(text: str) -> tuple[str, str]:
    """Name and file of a comparison from `NAME=FILE`.

    Raises:
        InputError: a name of none that is published, or no file.
    """
    name, _, path = text.partition("=")
    if name not in COMPARISONS or not path:
        raise InputError(
            f"--comparison={text}",
            found="no name of a comparison" if path else "no file",
            expected=f"NAME=FILE, with one of {', '.join(COMPARISONS)}",
            fix="name the comparison whose record it is",
        )
    return name, path


def publish(root: Path) -> list[Path]:
    """Writes the blocks of all documents; returns those that have changed."""
    records, changed = read(root), []
    for name in DOCUMENTS:
        path = root / name
        text = path.read_text(encoding="utf-8")
        new = filled(text, records)
        if new != text:
            files.write_text(path, new)
            changed.append(path)
    return changed
