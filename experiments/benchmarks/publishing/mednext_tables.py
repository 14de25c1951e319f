"""What MedNeXt's benchmark wrote, as the Markdown of docs/explanation/speed.md and depthwise.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dsdenseunet.core.words import by
from experiments.benchmarks.publishing.cpu_tables import sides, targets, times_slower
from experiments.benchmarks.publishing.markdown import table, time

Record = Mapping[str, Any]
_ABSENT = "Nothing has been measured yet: `make bench` would."
# Ratios this close to 1 are no difference.
_EQUAL = 0.05


def networks(record: Record | None) -> str:
    """How it was measured, targets, whole networks with their floors, rates."""
    if record is None:
        return _ABSENT
    results = record["results"]
    heads: tuple[str, ...] = (
        "",
        "beside PyTorch's",
        "ours",
        "theirs",
        "ours / theirs",
        "fastest",
        "processor",
    )
    heads = (*heads, "floor", "ours / floor", "peak GiB, ours", "theirs")
    rows = table(heads, (_network(one) for one in results if one["part"] in ("inference", "step")))
    heads = ("the machine's rates", "a second")
    rates = table(heads, ((one["case"], _rate(one)) for one in results if one["part"] == "rates"))
    return "\n\n".join(text for text in (_made_with(record), targets(record), rows, rates) if text)


def convolutions(record: Record | None) -> str:
    """How it was measured, when ours is the fastest form, and every shape with its floor."""
    found = [one for one in record["results"] if one["part"] == "depthwise"] if record else []
    if record is None or not found:
        return _ABSENT
    slow = times_slower(found, "grouped")
    beside = [one for one in found if one["against"] != "grouped"]
    heads: tuple[str, ...] = ("kernel, stride, pass", "ours / PyTorch", "the faster one", "XLA's own / ours")
    summary = table(heads, _summary(beside, slow))
    heads = ("input, channels", "ours", "PyTorch", "ours / PyTorch", "fastest", "processor")
    heads = (*heads, "floor", "ours / floor", "XLA's own / ours")
    rows = (
        (*sides(one), *_floor(one), f"{slow[one['case']]:.3g}" if one["case"] in slow else "")
        for one in beside
    )
    return "\n\n".join((_made_with(record), summary, table(heads, rows)))


def _summary(beside: Sequence[Record], slow: Mapping[str, float]) -> Iterable[tuple[str, ...]]:
    """By kernel, stride and pass: the range over shapes, and of what is faster."""
    kinds: dict[str, list[Record]] = {}
    for one in beside:
        stride = by(one["stride"]) if set(one["stride"]) != {1} else "1"
        what = "transposed, " if one["transposed"] else ""
        passes = "forward and backward" if one["case"].endswith("fwd+bwd") else "forward"
        kinds.setdefault(f"{one['kernel']}^3, {what}{stride}, {passes}", []).append(one)
    for kind, results in kinds.items():
        ratios = [one["ratio"]["median"] for one in results]
        times = [slow[one["case"]] for one in results if one["case"] in slow]
        yield kind, _range(ratios), _faster(ratios), _range(times)


def _range(values: Sequence[float]) -> str:
    texts = sorted({f"{value:.3g}" for value in values}, key=float)
    return " to ".join([texts[0], texts[-1]] if len(texts) > 1 else texts)


def _faster(ratios: Sequence[float]) -> str:
    verdicts = {
        "either" if abs(ratio - 1) <= _EQUAL else "ours" if ratio < 1 else "PyTorch's" for ratio in ratios
    }
    return verdicts.pop() if len(verdicts) == 1 else "depends on the shape"


def _network(one: Record) -> tuple[str, ...]:
    peaks = one["peak_gib"]
    peak = (str(peaks["ours"]), str(peaks[one["against"]]))
    against = one["against"].replace("channels_last", "channels-last").replace("ncdhw", "NCDHW")
    return (f"{one['part']}, {one['case']}", against, *sides(one)[1:], *_floor(one), *peak)


def _floor(one: Record) -> tuple[str, str]:
    if "roofline" not in one:
        return "", ""
    return time(one["roofline"]["floor_s"]), f"{one['roofline']['times_the_floor']:.3g}"


def _rate(one: Record) -> str:
    unit = "GB read and written" if one["rate_of"] == "bytes" else "G operations, two a multiply-add"
    return f"{one['per_s']['median'] / 1e9:.3g} {unit}"


def _made_with(record: Record) -> str:
    """Commit, machine and versions, in a sentence."""
    made = record["provenance"]
    hardware, versions = made["hardware"], made["versions"]
    loads = " and ".join(f"{made[when][0]:.1f}" for when in ("load_at_start", "load_at_end"))
    return (
        f"Commit {made['commit'][:10]}, {hardware['processor']}, jax {versions['jax']}, PyTorch "
        f"{versions['torch']}, float32, {record['rounds']} rounds; load at start and end: {loads}."
    )
