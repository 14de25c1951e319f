"""What the heats of a comparison say: Dice with intervals, the pairs, and the cost, for every budget."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dsdenseunet.core import files
from dsdenseunet.evaluation import statistics
from dsdenseunet.evaluation.cohort import Ratio
from experiments.benchmarks.peers.budget import Budget

Results = Sequence[Mapping[str, Any]]
# Of a heat, where it is known; the table has each contender's mean, of memory the most.
_COSTS = ("parameters", "steps", "step_s", "images", "host_bytes", "device_bytes")


def current(result: Mapping[str, Any]) -> dict[str, Any]:
    """A heat's result in today's form; older ones have minutes for a budget and peers' numbers as text."""
    said = result["said"] if "budget" not in result else ""
    measured = json.loads(said) if said.startswith("{") else {}
    kept = {name: value for name, value in result.items() if name != "minutes"}
    return {"budget": Budget.of(result).text, **measured, **kept}


def mean(result: Mapping[str, Any]) -> float:
    """Mean Dice over regions, then over cases."""
    return float(np.mean(list(_means(result["dice"]).values())))


def record(
    data: str,
    results: Results,
    networks: Mapping[str, Mapping[str, Any]],
    versions: Mapping[str, str],
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that a comparison writes: `scored` and `compared` follow from `results`.

    Args:
        data: the data set's name.
        results: of all heats; the others are compared with each budget's first contender.
        networks: by contender, what `Contender.facts` says.
        versions: of the peers' packages.
        provenance: of the command.
    """
    results = [current(result) for result in results]
    return {
        "data": data,
        "results": results,
        "scored": scored(results),
        "compared": compared(results),
        "networks": dict(networks),
        "peer_versions": dict(versions),
        "provenance": dict(provenance),
    }


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A record from its file, also one of an older form, made anew from the heats' results."""
    found = files.read_json(path)
    return record(
        found["data"],
        found["results"],
        found.get("networks", {}),
        found["peer_versions"],
        found["provenance"],
    )


def scored(results: Results) -> list[dict[str, Any]]:
    """Every contender with every budget, over the cases of all its folds; seeds are averaged by case before.

    Returns:
        For each: `contender`, `budget`, its `folds` and `seeds`, the `cases` that were scored, the `seconds`
        of its longest heat; the mean of its heats' `parameters`, `steps`, `images` and `step_s` and the
        largest of `host_bytes` and `device_bytes`, None where not known; `by_seed`, mean Dice of each seed;
        and `dice`: the mean over cases of each region and of all (`mean`), each with its bootstrap interval
        over cases (`value`, `low`, `high`; 95 %, None for a single case).
    """
    rows = []
    for (name, budget), found in _by_contender(results).items():
        cases = _by_case(found)
        scores = {region: {c: dice[region] for c, dice in cases.items()} for region in _regions(found)}
        scores["mean"] = _means(cases)
        seeds = sorted({result["seed"] for result in found})
        rows.append(
            {
                "contender": name,
                "budget": budget,
                "folds": sorted({result["fold"] for result in found}),
                "seeds": seeds,
                "cases": len(cases),
                "seconds": max(result["seconds"] for result in found),
                **{cost: _cost(cost, found) for cost in _COSTS},
                "by_seed": {str(seed): _of_seed(seed, found) for seed in seeds},
                "dice": {kind: _with_interval(list(values.values())) for kind, values in scores.items()},
            }
        )
    return rows


def compared(results: Results) -> list[dict[str, Any]]:
    """Each budget's first contender beside its other ones, over the cases that all have scored.

    Returns:
        For each budget and other contender: `first`, `second`, `budget`, `cases`; `difference`, the mean
        difference of Dice over regions and cases, and its bootstrap interval over cases (`low`, `high`;
        95 %); `p_value` of exchanging the two case by case, `p_adjusted`, the same after Holm's correction
        over the contenders of the budget; `better` and `reason`, see `statistics.Comparison`. Seeds are
        averaged by case before.
    """
    grouped, rows = _by_contender(results), []
    for budget in dict.fromkeys(result["budget"] for result in results):
        means = {name: _means(_by_case(found)) for (name, at), found in grouped.items() if at == budget}
        first, *others = means
        cases = sorted(set.intersection(*(set(scores) for scores in means.values())))
        if not others or not cases:
            continue
        terms = {name: _ratio([scores[case] for case in cases]) for name, scores in means.items()}
        pairs = statistics.compare(
            dict.fromkeys(others, terms[first]),
            {name: terms[name] for name in others},
            statistics.case_weights(len(cases)),
            compared=dict.fromkeys(others, True),
        )
        for pair in pairs:
            values = dataclasses.asdict(pair)
            ends = {} if len(cases) > 1 else {"low": None, "high": None}
            dropped = ("name", "first", "second")
            rows.append(
                {
                    "first": first,
                    "second": pair.name,
                    "budget": budget,
                    "cases": len(cases),
                    **{name: value for name, value in values.items() if name not in dropped},
                    **ends,
                }
            )
    return rows


def _by_contender(results: Results) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for result in results:
        grouped.setdefault((result["contender"], result["budget"]), []).append(result)
    return grouped


def _cost(name: str, results: Results) -> float | None:
    known = [result[name] for result in results if result.get(name)]
    if not known:
        return None
    return max(known) if name.endswith("bytes") else float(np.mean(known))


def _regions(results: Results) -> list[str]:
    return list(next(iter(results[0]["dice"].values())))


def _by_case(results: Results) -> dict[str, dict[str, float]]:
    """Dice of each region of each case, its mean over seeds."""
    found: dict[str, list[Mapping[str, float]]] = {}
    for result in results:
        for case, dice in result["dice"].items():
            found.setdefault(case, []).append(dice)
    return {
        case: {region: float(np.mean([dice[region] for dice in seeds])) for region in seeds[0]}
        for case, seeds in sorted(found.items())
    }


def _of_seed(seed: int, results: Results) -> float:
    cases = _by_case([result for result in results if result["seed"] == seed])
    return float(np.mean(list(_means(cases).values())))


def _means(cases: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {case: float(np.mean(list(dice.values()))) for case, dice in cases.items()}


def _ratio(values: Sequence[float]) -> Ratio:
    array = np.array(values)
    return Ratio(array, np.ones_like(array))


def _with_interval(values: Sequence[float]) -> dict[str, float | None]:
    term = _ratio(values)
    ends = statistics.interval(term, statistics.case_weights(len(values)))
    low, high = ends or (None, None)
    return {"value": term.value(), "low": low, "high": high}
