"""What the benchmark wrote, as the Markdown tables of docs/explanation/speed.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.benchmarks.publishing.markdown import met, spread, table, time

Record = Mapping[str, Any]


def markdown(record: Record) -> str:
    """All tables: targets, convolutions, networks with the pipeline, compiling; blank lines between."""
    results = record["results"]
    tables = [targets(record)]
    for part, reference in (("depthwise", "grouped"), ("conv", "direct")):
        heads: tuple[str, ...] = (
            "input",
            "ours",
            "PyTorch",
            "ours / PyTorch",
            "fastest",
            "processor",
            f"{reference} / ours",
        )
        tables.append(table(heads, _convolutions(results, part, reference)))
    heads = ("", "ours", "theirs", "ours / theirs", "fastest", "processor", "peak GiB, ours", "theirs")
    networks = [r for r in results if r["part"] in ("step", "inference", "pipeline")]
    tables.append(table(heads, (_network(result) for result in networks)))
    heads = ("input pipeline", "patches a second", "host's processor ms a batch", "MB to the device a batch")
    tables.append(table(heads, (_input(r) for r in results if "bytes_to_device_a_batch" in r)))
    heads = ("trace and compile", "seconds", "processor seconds")
    compiled = [r for r in results if r["part"] == "compile"]
    rows = ((r["case"], spread(r["wall_s"]), spread(r["cpu_s"])) for r in compiled)
    tables.append(table(heads, rows))
    return "\n\n".join(table for table in tables if table)


def targets(record: Record) -> str:
    """Each target with its worst case, and whether it is met."""
    rows = (
        (target["target"], f"{target['measured']:.3g}", target["case"], met(target))
        for target in record["targets"]
    )
    return table(("target", "measured", "worst case", ""), rows)


def times_slower(results: Sequence[Record], reference: str) -> dict[str, float]:
    """How many times our seconds a reference takes, by case."""
    return {one["case"]: 1 / one["ratio"]["median"] for one in results if one["against"] == reference}


def _convolutions(results: Sequence[Record], part: str, reference: str) -> Iterable[tuple[str, ...]]:
    of_part = [result for result in results if result["part"] == part]
    slow = times_slower(of_part, reference)
    for result in of_part:
        if result["against"] != reference:
            yield (*sides(result), f"{slow[result['case']]:.3g}")


def _network(result: Record) -> tuple[str, ...]:
    peaks = result.get("peak_gib", {})
    both = ("ours", result["against"])
    case = result["case"] if result["part"] == "pipeline" else f"{result['part']}, {result['case']}"
    return (case, *sides(result)[1:], *(str(peaks.get(side, "")) for side in both))


def _input(result: Record) -> tuple[str, ...]:
    patches, megabytes = spread(result["patches_per_s"]), result["bytes_to_device_a_batch"] / 1e6
    return result["case"], patches, f"{result['host_cpu_ms_a_batch']:.3g}", f"{megabytes:.3g}"


def sides(result: Record) -> tuple[str, ...]:
    """The case; ours, theirs, their ratio, that of the fastest samples and of processor time."""
    clocks = [result["seconds"][side]["wall_s"] for side in ("ours", result["against"])]
    ours, theirs = (time(side["median"]) for side in clocks)
    fastest = f"{clocks[0]['low'] / clocks[1]['low']:.3g}"
    return result["case"], ours, theirs, spread(result["ratio"]), fastest, spread(result["cpu_ratio"])
