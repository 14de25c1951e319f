"""Table 2: the paper's seconds of an epoch beside ours; the first epoch apart, as it compiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

from dsdenseunet.core.words import by
from dsdenseunet.reporting.reproduction.section import Record, Section, Table, facts

_VARIANTS = {"ds": "DS-Conv", "standard": "standard"}
Cells = Mapping[str, Mapping[str, Sequence[float]]]


def section(record: Record) -> Section:
    """Every epoch of both, what they come to, and why the two differ."""
    where = _where(record)
    return Section(
        f"Table 2: seconds an epoch, {where}",
        [
            _epochs(record["paper"]["epochs"], f"The paper's, on {record['paper']['trained_on']}", "{:.0f}"),
            _epochs(record["ours"], f"Ours, {where}", "{:.1f}"),
            _summary(record, where),
        ],
        _notes(record),
        facts=facts(record),
    )


def _where(record: Record) -> str:
    protocol, paper = record["protocol"], record["paper"]
    patch = f"patches of {by(protocol['patch'])}"
    if list(protocol["patch"]) != paper["patch"] or protocol["steps"] != paper["steps"]:
        patch = (
            f"at a reduced size: {patch} (paper: {by(paper['patch'])}), {protocol['steps']} steps an "
            f"epoch (paper: {paper['steps']})"
        )
    return f"on {record['data']['name']}, {patch}"


def _epochs(cells: Cells, caption: str, form: str) -> Table:
    """In the paper's form: a row an epoch, then the averages."""
    columns = [(v, count, seconds) for v in _VARIANTS for count, seconds in cells[v].items()]
    headings = ["epoch", *(f"{_VARIANTS[variant]}, {count} cases" for variant, count, _ in columns)]
    rows = [
        [str(number + 1), *(form.format(seconds[number]) for _, _, seconds in columns)]
        for number in range(len(columns[0][2]))
    ]
    rows.append(["average", *(f"{mean(seconds):.1f}" for _, _, seconds in columns)])
    return Table(caption, headings, rows)


def _first(cells: Cells, variant: str) -> float:
    return mean(seconds[0] for seconds in cells[variant].values())


def _steady(cells: Cells, variant: str) -> float:
    return mean(mean(seconds[1:]) for seconds in cells[variant].values())


def _average(cells: Cells, variant: str) -> float:
    return mean(mean(seconds) for seconds in cells[variant].values())


_SUMMARY = {
    "first epoch, compiling included": _first,
    "every later epoch": _steady,
    "all epochs (the paper's total average)": _average,
}


def _summary(record: Record, where: str) -> Table:
    rows = []
    for words, value in _SUMMARY.items():
        row = [words]
        for cells in (record["paper"]["epochs"], record["ours"]):
            ds, standard = (value(cells, variant) for variant in _VARIANTS)
            row += [f"{ds:.2f}", f"{standard:.2f}", f"{standard / ds:.2f}"]
        rows.append(row)
    headings = [""]
    for who in ("paper", "ours"):
        headings += [f"{who}, DS-Conv", f"{who}, standard", f"{who}, standard / DS-Conv"]
    return Table(f"Seconds, mean over the numbers of cases; ours {where}", headings, rows)


def _notes(record: Record) -> list[str]:
    paper, ours = record["paper"]["epochs"], record["ours"]
    share = {v: _first(paper, v) / mean(sum(s) for s in paper[v].values()) for v in _VARIANTS}
    macs = record["macs"]
    ratio = {"paper": _steady(paper, "standard") / _steady(paper, "ds")}
    ratio["ours"] = _steady(ours, "standard") / _steady(ours, "ds")
    steady = [mean(seconds[1:]) for seconds in ours["ds"].values()]
    counts = list(ours["ds"])
    return [
        "Absolute seconds are of different machines"
        + (" and of different amounts of work" if "reduced" in _where(record) else "")
        + ": what can be compared is the ratio of standard to DS-Conv.",
        f"The paper's first epoch, which includes compiling, takes {share['ds']:.0%} of its ten with DS-Conv "
        f"and {share['standard']:.0%} with standard convolutions. Its total averages ("
        f"{record['paper']['totals']['ds']} and {record['paper']['totals']['standard']} s) therefore say "
        f"above all how long its framework compiles; without the first epoch its ratio is "
        f"{ratio['paper']:.2f}.",
        f"Ours is {ratio['ours']:.2f}. In multiply-adds the two networks' ratio is "
        f"{macs['standard'] / macs['ds']:.2f} on the paper's patch, as most are in the decoder, whose "
        "convolutions are standard ones in both. A much larger ratio is that of a framework which runs one "
        "kind slowly, or of another network: the paper's standard column in Table 3 is not that of its text.",
        f"The number of cases makes no difference, as an epoch is a number of steps: with DS-Conv our later "
        f"epochs take {min(steady):.2f} to {max(steady):.2f} s with {', '.join(counts[:-1])} and "
        f"{counts[-1]} cases.",
    ]
