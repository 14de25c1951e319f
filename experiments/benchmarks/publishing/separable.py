"""Is a depthwise separable network better? Pairs of networks that differ in that, of every comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from dsdenseunet.evaluation import statistics
from dsdenseunet.reporting.comparison_tables import p_value, value
from experiments.benchmarks.peers import standings
from experiments.benchmarks.publishing.markdown import table


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two contenders of a comparison.

    Attributes:
        comparison: its name, of those that are published.
        separable: the contender with depthwise separable convolutions.
        standard: the same network with full ones.
        network: what they are, and in what else they differ.
    """

    comparison: str
    separable: str
    standard: str
    network: str


PAIRS = (
    Pair("choices", "hippocampus.py:recipe", "hippocampus.py:standard", "separable U-Net, as wide"),
    Pair(
        "choices",
        "hippocampus.py:recipe",
        "hippocampus.py:standard_narrow",
        "separable U-Net, about as many parameters",
    ),
    *(
        Pair(name, f"{config}:dense_unet_ds", f"{config}:dense_unet_standard", "small 3D-DenseUNet")
        for name, config in (("families", "hippocampus.py"), ("lits14", "lits14.py"))
    ),
)
_HEAD = (
    *("data", "budget", "seeds", "network", "Dice, separable", "Dice, standard", "lead of separable", "p"),
    *(f"{cost}, share" for cost in ("parameters", "multiply-adds", "seconds a step", "memory")),
)


def markdown(comparisons: Mapping[str, Mapping[str, Any]]) -> str:
    """A row for each pair whose comparison is there; the last columns are shares, separable of standard.

    Args:
        comparisons: records of `experiments.compare`, by their names.
    """
    there = [pair for pair in PAIRS if pair.comparison in comparisons]
    found = [(pair.network, _beside(pair, comparisons[pair.comparison])) for pair in there]
    p_values = {str(place): two["compared"][0]["p_value"] for place, (_, two) in enumerate(found)}
    adjusted = statistics.holm(p_values)
    return table(_HEAD, [_row(*pair, adjusted[str(place)]) for place, pair in enumerate(found)])


def _beside(pair: Pair, record: Mapping[str, Any]) -> dict[str, Any]:
    """The comparison of the two alone."""
    names = (pair.separable, pair.standard)
    results = [result for name in names for result in record["results"] if result["contender"] == name]
    kept = {name: record["networks"][name] for name in names}
    return standings.record(record["data"], results, kept, {}, record["provenance"])


def _row(network: str, two: Mapping[str, Any], adjusted: float) -> Sequence[str]:
    separable, standard = two["scored"]
    (lead,) = two["compared"]
    counts = [two["networks"][row["contender"]] for row in (separable, standard)]
    shares = [
        *(counts[0][name] / counts[1][name] for name in ("parameters", "voxel_macs")),
        *(separable[name] / standard[name] for name in ("step_s", "host_bytes")),
    ]
    return (
        two["data"],
        separable["budget"],
        str(len(separable["seeds"])),
        network,
        value(separable["dice"]["mean"]),
        value(standard["dice"]["mean"]),
        value({**lead, "value": lead["difference"]}, "+"),
        p_value(adjusted),
        *(f"{share:.2f}" for share in shares),
    )
