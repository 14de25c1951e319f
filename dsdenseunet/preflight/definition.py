"""A convolution as the compiler is given it, and single values of it computed from the definition.

The definition is that of StableHLO's `convolution` operation, which every convolution of a JAX program and
every gradient of one becomes: https://openxla.org/stablehlo/spec#convolution
"""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
from jax import Array, lax

_OPERATION = re.compile(
    r"stablehlo\.convolution\([^)]*\) "
    r"dim_numbers = \[(?P<lhs>[^\]]*)\]x\[(?P<rhs>[^\]]*)\]->\[(?P<out>[^\]]*)\], "
    r"window = \{(?P<window>.*?)\} \{(?P<attributes>.*?)\} : "
    r"\(tensor<(?P<lhs_type>[^>]*)>, tensor<(?P<rhs_type>[^>]*)>\) -> tensor<(?P<out_type>[^>]*)>"
)
_DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16", "f64": "float64"}


@dataclasses.dataclass(frozen=True)
class Convolution:
    """One `stablehlo.convolution`.

    Attributes:
        lhs, rhs: shapes of the operands.
        out: shape of the result.
        dtype: of the operands.
        out_dtype: of the result.
        specs: positions of (batch, feature, spatial...) in lhs, (output, input, spatial...) in rhs and
            (batch, feature, spatial...) in the result, as `lax.ConvDimensionNumbers` has them.
        stride, lhs_dilation, rhs_dilation: one number a spatial axis.
        padding: (before, after) for each spatial axis.
        feature_groups, batch_groups: see the definition.
    """

    lhs: tuple[int, ...]
    rhs: tuple[int, ...]
    out: tuple[int, ...]
    dtype: str
    out_dtype: str
    specs: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]
    feature_groups: int
    batch_groups: int

    def __str__(self) -> str:
        sides = (" x ".join(map(str, shape)) for shape in (self.lhs, self.rhs, self.out))
        return f"{self.dtype} convolution of {next(sides)} with {next(sides)} to {next(sides)}"

    def run(self, lhs: Array, rhs: Array) -> Array:
        """The result on the device that holds the operands, as the run itself computes it."""
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides=self.stride,
            padding=self.padding,
            lhs_dilation=self.lhs_dilation,
            rhs_dilation=self.rhs_dilation,
            dimension_numbers=lax.ConvDimensionNumbers(*self.specs),
            feature_group_count=self.feature_groups,
            batch_group_count=self.batch_groups,
            preferred_element_type=self.out_dtype,
        )

    @property
    def products(self) -> int:
        """Products that one value of the result is the sum of, at most."""
        _, inputs, *window = (self.rhs[axis] for axis in self.specs[1])
        return inputs * math.prod(window)

    def values_at(self, lhs: np.ndarray, rhs: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Values of the result, summed in float64 from the definition.

        Args:
            lhs: first operand.
            rhs: second operand.
            places: (n, rank) indices into the result.

        Returns:
            (n,) float64.
        """
        lhs_spec, rhs_spec, out_spec = self.specs
        lhs, rhs = lhs.transpose(lhs_spec), rhs.transpose(rhs_spec)
        features, inputs = rhs.shape[:2]
        batch = self.out[out_spec[0]]
        values = np.empty(len(places))
        for row, place in enumerate(places):
            sample, feature, *at = (int(place[axis]) for axis in out_spec)
            if self.batch_groups > 1:
                sample += batch * (feature // (features // self.batch_groups))
            first = inputs * (feature // (features // self.feature_groups))
            source, taps = [], []
            for axis, position in enumerate(at):
                tap = np.arange(rhs.shape[2 + axis])
                reached = position * self.stride[axis] + tap * self.rhs_dilation[axis] - self.padding[axis][0]
                index, rest = np.divmod(reached, self.lhs_dilation[axis])
                inside = (rest == 0) & (index >= 0) & (index < lhs.shape[2 + axis])
                source.append(index[inside])
                taps.append(tap[inside])
            x = lhs[sample, first : first + inputs][np.ix_(range(inputs), *source)]
            w = rhs[feature][np.ix_(range(inputs), *taps)]
            values[row] = np.vdot(x.astype(np.float64), w.astype(np.float64))
        return values


def parse(text: str) -> list[Convolution]:
    """The distinct convolutions of a program, in order, from its StableHLO text.

    Args:
        text: `jax.jit(f).trace(...).lower().as_text()`.

    Raises:
        ValueError: a convolution in a form that is not known here.
    """
    found: dict[Convolution, None] = {}
    for line in text.splitlines():
        if "stablehlo.convolution" not in line:
            continue
        match = _OPERATION.search(line)
        if match is None or "true" in match["window"]:
            raise ValueError(f"a convolution in an unknown form: {line.strip()}")
        found[_convolution(match)] = None
    return list(found)


def _convolution(match: re.Match[str]) -> Convolution:
    (lhs, dtype), (rhs, _), (out, out_dtype) = (
        _type(match[name]) for name in ("lhs_type", "rhs_type", "out_type")
    )
    window = {
        name: _numbers(value)
        for name, value in re.findall(r"(\w+) = (\[.*?\])(?:,|$)(?! \[)", match["window"])
    }
    groups = {
        name: int(value) for name, value in re.findall(r"(\w+_group_count) = (\d+)", match["attributes"])
    }
    rank = len(lhs) - 2
    pads = window.get("pad", [0] * (2 * rank))
    ones = [1] * rank
    return Convolution(
        lhs,
        rhs,
        out,
        dtype,
        out_dtype,
        (_positions(match["lhs"], "bf"), _positions(match["rhs"], "oi"), _positions(match["out"], "bf")),
        tuple(window.get("stride", ones)),
        tuple(zip(pads[::2], pads[1::2], strict=True)),
        tuple(window.get("lhs_dilate", ones)),
        tuple(window.get("rhs_dilate", ones)),
        groups["feature_group_count"],
        groups["batch_group_count"],
    )


def _type(text: str) -> tuple[tuple[int, ...], str]:
    *sides, dtype = text.split("x")
    return tuple(map(int, sides)), _DTYPES[dtype]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"-?\d+", text)]


def _positions(text: str, leading: str) -> tuple[int, ...]:
    """Where the axes of `leading` and then the spatial ones stand in a list such as `b, 0, 1, 2, f`."""
    labels = text.replace(" ", "").split(",")
    spatial = [str(number) for number in range(len(labels) - 2)]
    return tuple(labels.index(label) for label in [*leading, *spatial])
