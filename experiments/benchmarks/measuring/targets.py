"""What the benchmark's figures are held to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Target:
    """A limit for the worst of the results that it concerns.

    Attributes:
        name: in words.
        limit: the most that is allowed (`at_least`: the least).
        figure: of one result; None where it concerns another.
        at_least: which way round.
    """

    name: str
    limit: float
    figure: Callable[[dict[str, Any]], float | None]
    at_least: bool = False

    @property
    def text(self) -> str:
        """The target in words."""
        return f"{self.name}: {'at least' if self.at_least else 'at most'} {self.limit:g}"

    def judge(self, results: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
        """Figure, its case and whether the limit is kept; None where no result concerns it."""
        figures = [
            (value, result["case"]) for result in results if (value := self.figure(result)) is not None
        ]
        if not figures:
            return None
        value, case = min(figures) if self.at_least else max(figures)
        met = value >= self.limit if self.at_least else value <= self.limit
        return {
            **{"target": self.text, "limit": self.limit, "measured": float(f"{value:.4g}")},
            **{"case": case, "met": met},
        }


def _ratio(
    part: str, against: Sequence[str] = (), ending: str = ""
) -> Callable[[dict[str, Any]], float | None]:
    def figure(result: dict[str, Any]) -> float | None:
        wanted = result["part"] == part and result["case"].endswith(ending)
        if not wanted or (against and result["against"] not in against):
            return None
        return float(result["ratio"]["median"])

    return figure


def _inverse(figure: Callable[[dict[str, Any]], float | None]) -> Callable[[dict[str, Any]], float | None]:
    def inverted(result: dict[str, Any]) -> float | None:
        value = figure(result)
        return None if value is None else 1 / value

    return inverted


def _start(kind: str) -> Callable[[dict[str, Any]], float | None]:
    def figure(result: dict[str, Any]) -> float | None:
        wanted = result["part"] == "compile" and result["case"].endswith(kind)
        return float(result["wall_s"]["median"]) if wanted else None

    return figure


_PYTORCH = ("channels_last", "ncdhw")
TARGETS = (
    Target(
        "depthwise, forward and backward, share of PyTorch's seconds",
        1.0,
        _ratio("depthwise", _PYTORCH, "fwd+bwd"),
    ),
    Target(
        "depthwise, forward and backward, times faster than grouped",
        20,
        _inverse(_ratio("depthwise", ("grouped",), "fwd+bwd")),
        at_least=True,
    ),
    Target("training step, share of PyTorch's seconds", 1.0, _ratio("step")),
    Target("input pipeline, times the step rate", 2, _inverse(_ratio("pipeline")), at_least=True),
    Target("cold start: trace and compile the training step, seconds", 40, _start("cold")),
    Target("warm start: trace and read the training step from the cache, seconds", 10, _start("warm")),
)


def _mednext(part: str, kernel: int, peer: str) -> Callable[[dict[str, Any]], float | None]:
    """Of MedNeXt S with kernels of this side beside a network in PyTorch."""

    def figure(result: dict[str, Any]) -> float | None:
        wanted = result["part"] == part and result.get("kernel") == kernel
        if not wanted or result["against"].startswith("U-Net") != (peer == "U-Net"):
            return None
        return float(result["ratio"]["median"])

    return figure


_PASSES = {"inference": "inference", "step": "training step"}
MEDNEXT_TARGETS = (
    *(
        Target(f"MedNeXt S k{kernel}, {words}, share of PyTorch's seconds", limit, _mednext(part, kernel, ""))
        for kernel, limit in ((3, 0.45), (5, 0.4))
        for part, words in _PASSES.items()
    ),
    *(
        Target(
            f"MedNeXt S k{kernel}, {words}, share of the plain U-Net's seconds in PyTorch",
            1.0,
            _mednext(part, kernel, "U-Net"),
        )
        for kernel in (3, 5)
        for part, words in _PASSES.items()
    ),
    *(
        Target(
            f"depthwise convolution of MedNeXt, {words}, share of PyTorch's seconds",
            1.0,
            _ratio("depthwise", _PYTORCH, f", {ending}"),
        )
        for ending, words in (("fwd", "forward"), ("fwd+bwd", "forward and backward"))
    ),
    Target(
        "depthwise convolution of MedNeXt, forward and backward, times faster than XLA's own",
        20,
        _inverse(_ratio("depthwise", ("grouped",), "fwd+bwd")),
        at_least=True,
    ),
)


def judge(results: Sequence[dict[str, Any]], targets: Sequence[Target] = TARGETS) -> list[dict[str, Any]]:
    """Each target that the results concern."""
    return [found for target in targets if (found := target.judge(results))]
