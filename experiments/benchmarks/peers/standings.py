"""What the heats of a comparison say: Dice with intervals, the pairs, and the cost, for every budget."""

from __future__ import annotations

import dataclasses
import functools
import json
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.core import files
from dsdenseunet.evaluation import statistics
from dsdenseunet.evaluation.cohort import Ratio
from experiments.benchmarks.peers.budget import Budget

Results = Sequence[Mapping[str, Any]]
Grid = NDArray[np.float64]
Weights = Mapping[str, int]
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
    return float(np.mean([_mean_of(dice) for dice in result["dice"].values()]))


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
    """Every contender with every budget, over the cases of all its folds and its seeds.

    Returns:
        For each: `contender`, `budget`, its `folds` and `seeds`, the `cases` that were scored, the `seconds`
        of its longest heat; the mean of its heats' `parameters`, `steps`, `images` and `step_s` and the
        largest of `host_bytes` and `device_bytes`, None where not known; `by_seed`, mean Dice of each seed;
        and scores with their bootstrap intervals over cases and seeds (`value`, `low`, `high`; 95 %, None for
        a single case): `dice`, the mean over cases of each region and of all (`mean`); and, unless the heats
        are older, `pooled`, over what all cases have together: of each region `global_dice` of voxels and,
        where its pieces are counted, their `recall` and `precision`.
    """
    rows = []
    for (name, budget), found in _by_contender(results).items():
        cases = _cases(found)
        seeds = sorted({result["seed"] for result in found})
        by_region = {region: _grid(found, cases, operator.itemgetter(region)) for region in _regions(found)}
        by_region["mean"] = _grid(found, cases, _mean_of)
        weights = statistics.crossed_weights(len(cases), len(seeds))
        rated = functools.partial(_with_interval, weights=weights if len(cases) > 1 else None)
        terms = _pooled(found, cases)
        pooled = {"pooled": {name: rated(term) for name, term in terms.items()}} if terms else {}
        rows.append(
            {
                "contender": name,
                "budget": budget,
                "folds": sorted({result["fold"] for result in found}),
                "seeds": seeds,
                "cases": len(cases),
                "seconds": max(result["seconds"] for result in found),
                **{cost: _cost(cost, found) for cost in _COSTS},
                "by_seed": {str(s): float(row.mean()) for s, row in zip(seeds, by_region["mean"])},
                "dice": {region: rated(_ratio(values)) for region, values in by_region.items()},
                **pooled,
            }
        )
    return rows


def compared(results: Results) -> list[dict[str, Any]]:
    """Each budget's first contender beside its other ones, over the cases that all have scored.

    Returns:
        For each budget and other contender: `first`, `second`, `budget`, `cases`; `difference`, the mean
        difference of Dice over regions and cases, and its bootstrap interval over cases and seeds (`low`,
        `high`; 95 %); `p_value` of exchanging the two case by case, all seeds of a case together;
        `p_adjusted`, the same after Holm's correction over the contenders of the budget; `better` and
        `reason`, see `statistics.Comparison`. Where contenders have other seeds than the first, all are
        averaged by case before.
    """
    grouped, rows = _by_contender(results), []
    for budget in dict.fromkeys(result["budget"] for result in results):
        of_budget = {name: found for (name, at), found in grouped.items() if at == budget}
        first, *others = of_budget
        cases = sorted(set.intersection(*(set(_cases(found)) for found in of_budget.values())))
        if not others or not cases:
            continue
        grids = {name: _grid(found, cases, _mean_of) for name, found in of_budget.items()}
        if len({tuple(sorted({one["seed"] for one in found})) for found in of_budget.values()}) > 1:
            grids = {name: grid.mean(axis=0, keepdims=True) for name, grid in grids.items()}
        terms, repeats = {name: _ratio(grid) for name, grid in grids.items()}, len(grids[first])
        pairs = statistics.compare(
            dict.fromkeys(others, terms[first]),
            {name: terms[name] for name in others},
            statistics.crossed_weights(len(cases), repeats),
            compared=dict.fromkeys(others, True),
            repeats=repeats,
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


def _cases(results: Results) -> list[str]:
    return sorted({case for result in results for case in result["dice"]})


def _mean_of(dice: Mapping[str, float]) -> float:
    return float(np.mean(list(dice.values())))


def _grid(
    results: Results, cases: Sequence[str], of: Callable[[Mapping[str, Any]], float], scores: str = "dice"
) -> Grid:
    """(seeds, cases): a number of each case's scores; what a seed lacks is the others' mean."""
    found: dict[tuple[int, str], list[float]] = {}
    for result in results:
        for case, values in result[scores].items():
            found.setdefault((result["seed"], case), []).append(of(values))
    seeds = sorted({seed for seed, _ in found})
    grid = np.array([[np.mean(found.get((s, c), [np.nan])) for c in cases] for s in seeds], np.float64)
    return np.where(np.isnan(grid), np.nanmean(grid, axis=0), grid)


def _pooled(results: Results, cases: Sequence[str]) -> dict[str, Ratio]:
    """Scores over what all cases have together, by region and name; none where a heat has not counted."""
    if not all(result.get("voxels") for result in results):
        return {}

    def summed(kind: str, region: str, weights: Weights) -> Grid:
        def of_case(values: Mapping[str, Any]) -> float:
            return sum(weight * values[region][name] for name, weight in weights.items())

        return _grid(results, cases, of_case, kind).ravel()

    def ratio(kind: str, region: str, above: Weights, below: Weights) -> Ratio:
        return Ratio(summed(kind, region, above), summed(kind, region, below))

    terms = {}
    detected: Mapping[str, Any] = next(iter(results[0]["pieces"].values()), {})
    for region in _regions(results):
        both = {"prediction": 1, "reference": 1}
        terms[f"{region} global_dice"] = ratio("voxels", region, {"intersection": 2}, both)
        if region in detected:
            found, true = {"found": 1}, {"true_prediction": 1}
            terms[f"{region} recall"] = ratio("pieces", region, found, {**found, "missed": 1})
            terms[f"{region} precision"] = ratio("pieces", region, true, {**true, "false_prediction": 1})
    return terms


def _ratio(values: Grid) -> Ratio:
    return Ratio(values.ravel(), np.ones(values.size))


def _with_interval(term: Ratio, weights: Grid | None) -> dict[str, float | None]:
    low, high = (None if weights is None else statistics.interval(term, weights)) or (None, None)
    return {"value": term.value(), "low": low, "high": high}
