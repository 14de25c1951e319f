"""What to expect of data-parallel training on more GPUs, computed from step time, bytes and link speeds.

Every GPU has the whole network and its own patches; a step ends with an all-reduce of the gradient, and
batch normalisation needs small all-reduces on the way, for which the next layer waits.
"""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Link:
    """A connection between GPUs, or between nodes.

    Attributes:
        name: of the standard.
        gb_per_s: 10^9 bytes a second in one direction, by the data sheet.
        latency_s: of one hop, software included; an assumption.
        source: where the speed comes from.
    """

    name: str
    gb_per_s: float
    latency_s: float
    source: str


# A hop between GPUs of one node and one between nodes: assumed, as orders of magnitude.
_NEAR_S, _FAR_S = 3e-6, 6e-6
_PCI = "PCI-SIG: {} GT/s a lane, 128b/130b, 16 lanes"
_NVLINK = "NVIDIA {} data sheet: {} GB/s in both directions together"
_INFINIBAND = "InfiniBand Trade Association roadmap: {} Gb/s, 4 lanes"
PCIE3 = Link("PCIe 3.0 x16", 15.75, _NEAR_S, _PCI.format(8))
PCIE4 = Link("PCIe 4.0 x16", 31.5, _NEAR_S, _PCI.format(16))
PCIE5 = Link("PCIe 5.0 x16", 63.0, _NEAR_S, _PCI.format(32))
NVLINK3 = Link("NVLink 3 (A100)", 300.0, _NEAR_S, _NVLINK.format("A100", 600))
NVLINK4 = Link("NVLink 4 (H100, H200)", 450.0, _NEAR_S, _NVLINK.format("H200", 900))
EDR = Link("InfiniBand EDR, 100 Gb/s", 12.5, _FAR_S, _INFINIBAND.format(100))
HDR = Link("InfiniBand HDR, 200 Gb/s", 25.0, _FAR_S, _INFINIBAND.format(200))
NDR = Link("InfiniBand NDR, 400 Gb/s", 50.0, _FAR_S, _INFINIBAND.format(400))
LINKS = (PCIE3, PCIE4, PCIE5, NVLINK3, NVLINK4, EDR, HDR, NDR)

# Share of a data sheet's speed that large transfers are taken to reach.
EFFICIENCY = 0.8


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Nodes of equal GPUs.

    Attributes:
        inside: between the GPUs of a node.
        between: of one network adapter of a node.
        adapters: network adapters per node.
        gpus_per_node: GPUs per node.
    """

    inside: Link
    between: Link
    adapters: int = 1
    gpus_per_node: int = 8

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.inside.name}; {self.adapters} x {self.between.name}"

    def all_reduce_s(self, gpus: int, size_bytes: float) -> float:
        """Seconds to add up `size_bytes` over `gpus`: first inside each node, then between them.

        Raises:
            ValueError: nodes that are not full.
        """
        near = min(gpus, self.gpus_per_node)
        if gpus % near:
            raise ValueError(f"{gpus} GPUs do not fill nodes of {self.gpus_per_node}")
        inside = all_reduce_s(near, size_bytes, self.inside.gb_per_s, self.inside.latency_s)
        # Each GPU has its own share of the node's sum; together they send the whole of it.
        speed = self.between.gb_per_s * self.adapters
        return inside + all_reduce_s(gpus // near, size_bytes, speed, self.between.latency_s)


def ring_all_reduce_s(members: int, size_bytes: float, gb_per_s: float, latency_s: float) -> float:
    """Seconds of a ring all-reduce: each member sends 2 (n - 1) parts of 1/n, one after the other."""
    hops = 2 * (members - 1)
    return hops / members * size_bytes / (EFFICIENCY * gb_per_s * 1e9) + hops * latency_s


def tree_all_reduce_s(members: int, size_bytes: float, gb_per_s: float, latency_s: float) -> float:
    """Seconds of an all-reduce up and down a binary tree: few hops, but the whole array in each."""
    hops = 2 * math.ceil(math.log2(members))
    return hops * (size_bytes / (EFFICIENCY * gb_per_s * 1e9) + latency_s)


def all_reduce_s(members: int, size_bytes: float, gb_per_s: float, latency_s: float) -> float:
    """Seconds by the faster of both ways, as NCCL chooses: rings for large arrays, trees for small ones."""
    ways = (ring_all_reduce_s, tree_all_reduce_s)
    return min(way(members, size_bytes, gb_per_s, latency_s) for way in ways)


@dataclasses.dataclass(frozen=True)
class Work:
    """One step on one GPU.

    Attributes:
        step_s: seconds, without any communication.
        patches: its part of the batch.
        gradient_bytes: added up over all GPUs, in one piece.
        statistics_count: small all-reduces, each of which is waited for.
        statistics_bytes: of all of these together.
    """

    step_s: float
    patches: int
    gradient_bytes: int
    statistics_count: int
    statistics_bytes: int


@dataclasses.dataclass(frozen=True)
class Expectation:
    """A step on many GPUs, the gradient's all-reduce hidden as far as it can be, or not at all.

    Attributes:
        gpus: how many.
        patches: of the global batch.
        alone_s: a step on one GPU.
        gradient_s: the gradient's all-reduce.
        statistics_s: the small all-reduces.
    """

    gpus: int
    patches: int
    alone_s: float
    gradient_s: float
    statistics_s: float

    @property
    def hidden_s(self) -> float:
        """Seconds a step where the all-reduce runs beside the computation."""
        return max(self.alone_s, self.gradient_s) + self.statistics_s

    @property
    def exposed_s(self) -> float:
        """Seconds a step where it comes after it."""
        return self.alone_s + self.gradient_s + self.statistics_s

    @property
    def efficiency(self) -> tuple[float, float]:
        """Share of `gpus` times one GPU's speed that is reached: exposed, hidden."""
        return self.alone_s / self.exposed_s, self.alone_s / self.hidden_s


def expect(work: Work, cluster: Cluster, gpus: int) -> Expectation:
    """A step of `work` on `gpus` of a cluster."""
    small = work.statistics_bytes / max(work.statistics_count, 1)
    return Expectation(
        gpus,
        gpus * work.patches,
        work.step_s,
        cluster.all_reduce_s(gpus, work.gradient_bytes),
        work.statistics_count * cluster.all_reduce_s(gpus, small),
    )


def last_that_pays(work: Work, cluster: Cluster, most: int = 4096) -> int:
    """The largest power of two up to `most` that still gives 1.5 times the speed of half as many GPUs.

    By the middle of what is hidden and what is not.
    """
    speeds = {}
    for power in range(int(math.log2(most)) + 1):
        found = expect(work, cluster, 2**power)
        speeds[2**power] = found.patches / ((found.hidden_s + found.exposed_s) / 2)
    gpus = 1
    while 2 * gpus in speeds and speeds[2 * gpus] >= 1.5 * speeds[gpus]:
        gpus *= 2
    return gpus
