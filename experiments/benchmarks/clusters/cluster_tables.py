"""The tables of docs/how-to/scale.md, from the network's size, counted all-reduces and measured steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsdenseunet.core import files
from dsdenseunet.core.words import counted
from dsdenseunet.memory.description import Description
from experiments.benchmarks.clusters import expectation
from experiments.benchmarks.publishing.markdown import table

# NVIDIA H200 data sheet: 1,979 TFLOP/s of bfloat16 with sparsity, half of it without.
H200_FLOPS = 989.5e12
GPUS = (1, 8, 64)
CLUSTERS = (
    expectation.Cluster(expectation.PCIE3, expectation.EDR),
    expectation.Cluster(expectation.PCIE4, expectation.HDR),
    expectation.Cluster(expectation.PCIE5, expectation.NDR),
    expectation.Cluster(expectation.NVLINK3, expectation.HDR, adapters=8),
    expectation.Cluster(expectation.NVLINK4, expectation.NDR, adapters=8),
)


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A name and what a step is there."""

    name: str
    work: expectation.Work


def read_measured(folder: Path) -> dict[str, Any]:
    """What `experiments.benchmarks.cpu` wrote, by kind of device, of what is in a folder."""
    paths = {kind: folder / f"benchmark_{kind.lower()}.json" for kind in ("CPU", "GPU")}
    return {kind: files.read_json(path) for kind, path in paths.items() if path.is_file()}


def scenarios(
    network: Description, collectives: Mapping[str, Any], measured: Mapping[str, Mapping[str, Any]]
) -> list[Scenario]:
    """Measured steps; where no GPU is among them, an H200's floor and multiples of it.

    Args:
        network: of one patch.
        collectives: a record of `collectives.count`.
        measured: as `read_measured` gives it.
    """
    found = []
    for kind, record in measured.items():
        patches = record["provenance"]["config"]["data"]["batch_size"]
        for result in record["results"]:
            if result["part"] == "step" and result["case"].startswith("DS"):
                (ours,) = (value for side, value in result["seconds"].items() if side.endswith("ours"))
                seconds = ours["wall_s"]["median"]
                found.append(_scenario(f"{kind}, measured", network, collectives, seconds, patches))
    if "GPU" not in measured:
        floor = 6 * network.totals()["macs"] / H200_FLOPS
        for times, patches in ((1, 1), (2, 1), (5, 1), (5, 8)):
            name = "H200's floor" if times == 1 else f"{times} times the floor"
            seconds = times * patches * floor
            found.append(_scenario(f"{name}, not measured", network, collectives, seconds, patches))
    return found


def own_step(network: Description, collectives: Mapping[str, Any], step_s: float, patches: int) -> Scenario:
    """A step whose time the user has given."""
    return _scenario("as given", network, collectives, step_s, patches)


def _scenario(
    name: str, network: Description, collectives: Mapping[str, Any], step_s: float, patches: int
) -> Scenario:
    small, size = collectives["small"], 4 * network.totals()["trainable"]
    time = f"{1e3 * step_s:,.3g} ms" if step_s < 1 else f"{step_s:.3g} s"
    step = f"{time} a step of {counted(patches, 'patch', 'patches')}"
    work = expectation.Work(step_s, patches, size, small["count"], small["bytes"])
    return Scenario(f"{name}: {step}", work)


def markdown(network: Description, collectives: Mapping[str, Any], steps: Sequence[Scenario]) -> str:
    """All tables; blank lines between."""
    size = 4 * network.totals()["trainable"]
    return "\n\n".join([_links(size), _clusters(steps[0].work), *(_speeds(step) for step in steps)])


def _links(size: int) -> str:
    heads = ("link", "GB/s, one way", f"{size / 1e6:.1f} MB over 8, ms", "source of the speed")
    rows = (
        (
            link.name,
            f"{link.gb_per_s:g}",
            _short(1e3 * expectation.ring_all_reduce_s(8, size, link.gb_per_s, link.latency_s)),
            link.source,
        )
        for link in expectation.LINKS
    )
    return table(heads, rows)


def _clusters(work: expectation.Work) -> str:
    heads = ("a step's all-reduces, ms", *(f"{n} GPUs: gradient" for n in GPUS[1:]))
    heads += tuple(f"{n} GPUs: statistics" for n in GPUS[1:])
    rows = []
    for cluster in CLUSTERS:
        expected = [expectation.expect(work, cluster, gpus) for gpus in GPUS[1:]]
        gradient = [_short(1e3 * one.gradient_s) for one in expected]
        rows.append((cluster.name, *gradient, *(_short(1e3 * one.statistics_s) for one in expected)))
    return table(heads, rows)


def _speeds(step: Scenario) -> str:
    heads = (step.name, *(f"{counted(gpus, 'GPU')}: patches/s" for gpus in GPUS))
    heads += (*(f"{gpus} GPUs: of ideal" for gpus in GPUS[1:]), "pays up to")
    rows = []
    for cluster in CLUSTERS:
        expected = [expectation.expect(step.work, cluster, gpus) for gpus in GPUS]
        speeds = [_range(one.patches / one.exposed_s, one.patches / one.hidden_s) for one in expected]
        shares = [_range(*one.efficiency, factor=100, unit=" %") for one in expected[1:]]
        rows.append((cluster.name, *speeds, *shares, f"{expectation.last_that_pays(step.work, cluster)}"))
    return table(heads, rows)


def _range(low: float, high: float, factor: int = 1, unit: str = "") -> str:
    ends = list(dict.fromkeys((_short(factor * low), _short(factor * high))))
    return " - ".join(ends) + unit


def _short(value: float) -> str:
    return f"{value:.2g}" if value < 99.5 else f"{value:,.0f}"
