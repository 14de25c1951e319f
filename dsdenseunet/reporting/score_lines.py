"""An evaluation in lines for the terminal: scores by mode, what to know about cases, what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dsdenseunet.core.words import counted, some
from dsdenseunet.data.scans import walk


def score_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """What scores.json holds, as `evaluation.folder.evaluate` returns it, for the terminal."""
    modes, comparison = result["modes"], result.get("comparison")
    methods = [result, comparison] if comparison else [result]
    passed_over: list[str] = []
    walk.tell(walk.from_json([entry for one in methods for entry in one["passed_over"]]), passed_over.append)
    yield from passed_over
    yield f"{'':<32}" + "".join(f"{mode:>12}" for mode in modes)
    for name in next(iter(modes.values()))["scores"]:
        values = [mode["scores"][name] for mode in modes.values()]
        yield f"{name:<32}" + "".join(f"{'-' if v is None else format(v, '.3f'):>12}" for v in values)
    if comparison:
        for row in comparison["modes"][list(modes)[-1]]:
            yield f"{row['name']}: {row['better']}{': ' if row['reason'] else ''}{row['reason']}"
    if found := result["calibration"]:
        cases = f"probabilities of {counted(found['cases'], 'case')}"
        yield f"{cases}: {_worth(found['as_saved'])}"
        yield f"{cases}, at temperature {found['temperature']:.3g}: {_worth(found['with_temperature'])}"
    for mode, names in result["absent"].items():
        yield f"no {mode} scores of the set, as there are none of {some(names)}"
    for which, mark, names in marks(modes):
        yield f"{which}: {mark}: {some(names)}"
    failed = [failure["scan"] for one in methods for failure in one["failures"]]
    if failed:
        yield f"not scored, see failures.json: {some(failed)}"


def _worth(values: Mapping[str, float]) -> str:
    return f"ECE {values['ece']:.4f}, NLL {values['nll']:.4f}"


def marks(modes: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    """Modes, mark and case names of every mark; one that both modes have on the same cases is given once."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for mode, scores in modes.items():
        for mark, names in scores["marks"].items():
            found.setdefault((mark, tuple(names)), []).append(mode)
    return [(" and ".join(which), mark, list(names)) for (mark, names), which in found.items()]
