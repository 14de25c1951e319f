"""The convolutions that a run will compute, and whether this device computes them correctly.

Wrong values without any error have been reported of cuDNN's 3D convolutions (pytorch/pytorch#163539,
bfloat16, cuDNN 9.8 to 9.10; #167024, float32 by TensorFloat-32, cuDNN 9.10.2 to 9.15), for some shapes on
some cards. So every distinct convolution of the run, gradients included, is computed once on the device in
its own shape and type, and a sample of its values is compared with the definition in float64.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dsdenseunet.models import registry
from dsdenseunet.models.network import abstract_variables
from dsdenseunet.ops.depthwise import depthwise_conv
from dsdenseunet.preflight.definition import Convolution, parse
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.state import abstract_state
from dsdenseunet.training.step import train_step

# Largest error of a value, as a share of the values' root mean square. TensorFloat-32 rounds products to
# 2^-11, and such errors average out over a sum. In bfloat16 a depthwise convolution may round each of its 27
# partial sums to
# 2^-9. What has been reported as wrong is wrong by about the value itself.
TOLERANCE = {"float32": 0.01, "bfloat16": 0.1}
_MOST_PRODUCTS, _MOST_VALUES, _LEAST_VALUES = 10**8, 512, 32
# A prime number of random values, repeated: no two rows of an array start alike.
_POOL = 1_000_003


@dataclasses.dataclass(frozen=True)
class Checked:
    """A convolution and the largest error that was found: a share of the values' root mean square, or NaN."""

    convolution: str
    dtype: str
    error: float

    @property
    def correct(self) -> bool:
        """Whether rounding explains the error."""
        return self.error <= TOLERANCE[self.dtype]


def of_training(config: ConfigDict, platform: str | None = None) -> list[Convolution]:
    """Distinct convolutions of the training step and of the validation that goes with it.

    Args:
        config: of the run.
        platform: `cpu` or `cuda`; None: what this process computes on.
    """
    recipe = build_recipe(config)
    shape = (config.data.batch_size, *config.data.patch_size)
    batch = {
        "image": jax.ShapeDtypeStruct((*shape, recipe.model.in_channels), jnp.float32),
        "labels": jax.ShapeDtypeStruct(shape, jnp.int32),
    }
    step = _lowered(platform, train_step, abstract_state(recipe), batch)
    return list(dict.fromkeys([*parse(step), *of_prediction(config, platform)]))


def of_prediction(config: ConfigDict, platform: str | None = None) -> list[Convolution]:
    """Distinct convolutions of the network as the sliding window runs it; arguments as `of_training`."""
    return parse(_lowered(platform, *_network(config)))


def depthwise_of(config: ConfigDict) -> list[Convolution]:
    """Distinct depthwise convolutions, as grouped ones; `ops.depthwise` says which form computes them."""
    run, variables, image = _network(config)
    traced = jax.make_jaxpr(run)(variables, image)
    return list(dict.fromkeys(_depthwise_calls(traced.jaxpr)))


def check(convolutions: Sequence[Convolution], depthwise: Sequence[Convolution]) -> Iterator[Checked]:
    """Computes each on the default device, one after the other, and compares a sample of its values.

    Args:
        convolutions: as the compiler is given them.
        depthwise: run through `ops.depthwise`, values and both gradients.
    """
    for convolution in convolutions:
        yield _compare(convolution, jax.jit(convolution.run))
    for convolution in depthwise:
        d, h, w = convolution.stride
        run = functools.partial(depthwise_conv, stride=(d, h, w))
        yield _compare(convolution, jax.jit(run))
        yield from _compare_gradients(convolution, run)


def _lowered(platform: str | None, function: Callable[..., Any], *arguments: Any) -> str:
    """The function's StableHLO."""
    traced = jax.jit(function).trace(*arguments)
    return traced.lower(lowering_platforms=(platform,) if platform else None).as_text()


def _network(config: ConfigDict) -> tuple[Callable[..., Any], Any, jax.ShapeDtypeStruct]:
    model = registry.build(config.model)
    shape = (config.inference.batch_size, *config.data.patch_size, model.in_channels)
    image = jax.ShapeDtypeStruct(shape, jnp.float32)
    return functools.partial(model.apply, train=False), abstract_variables(model), image


def _depthwise_calls(jaxpr: Any) -> Iterator[Convolution]:
    """Every call with a map (B, D, H, W, C) and a kernel (kd, kh, kw, 1, C) of its own gradient rule."""
    for equation in jaxpr.eqns:
        shapes = [getattr(operand.aval, "shape", ()) for operand in equation.invars]
        if equation.primitive.name.startswith("custom_vjp_call") and _is_depthwise(shapes):
            dtype = equation.invars[0].aval.dtype.name
            yield _grouped(shapes[0], shapes[1], equation.outvars[0].aval.shape, dtype)
            continue
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from _depthwise_calls(inner)


def _is_depthwise(shapes: Sequence[tuple[int, ...]]) -> bool:
    return (
        len(shapes) == 2
        and [len(shape) for shape in shapes] == [5, 5]
        and shapes[1][3] == 1
        and shapes[0][4] == shapes[1][4] > 1
    )


def _grouped(lhs: tuple[int, ...], rhs: tuple[int, ...], out: tuple[int, ...], dtype: str) -> Convolution:
    return Convolution(
        lhs,
        rhs,
        out,
        dtype,
        dtype,
        ((0, 4, 1, 2, 3), (4, 3, 0, 1, 2), (0, 4, 1, 2, 3)),
        tuple(-(-side // small) for side, small in zip(lhs[1:4], out[1:4], strict=True)),
        tuple((side // 2, side // 2) for side in rhs[:3]),
        (1, 1, 1),
        (1, 1, 1),
        rhs[4],
        1,
    )


def _compare(convolution: Convolution, run: Callable[[Any, Any], jax.Array]) -> Checked:
    lhs, rhs = (
        _operand(convolution.lhs, convolution.dtype, 0),
        _operand(convolution.rhs, convolution.dtype, 1),
    )
    places = _places(convolution)
    result = np.asarray(run(lhs, rhs))[tuple(places.T)].astype(np.float64)
    expected = convolution.values_at(lhs, rhs, places)
    return Checked(str(convolution), convolution.dtype, _error(result, expected))


def _compare_gradients(convolution: Convolution, run: Callable[..., jax.Array]) -> Iterator[Checked]:
    """Both gradients of a depthwise convolution against sums from the definition."""
    lhs, rhs = (
        _operand(convolution.lhs, convolution.dtype, 0),
        _operand(convolution.rhs, convolution.dtype, 1),
    )
    gradient = _operand(convolution.out, convolution.dtype, 2)
    by_lhs, by_rhs = jax.jit(lambda x, w, g: jax.vjp(run, x, w)[1](g))(lhs, rhs, gradient)
    for name, got, whole in (("input", by_lhs, _by_input), ("kernel", by_rhs, _by_kernel)):
        expected, places = whole(convolution, lhs, rhs, gradient)
        error = _error(np.asarray(got)[tuple(places.T)].astype(np.float64), expected)
        yield Checked(f"{convolution}, gradient by its {name}", convolution.dtype, error)


def _by_input(
    convolution: Convolution, lhs: np.ndarray, rhs: np.ndarray, gradient: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients by some inputs: the sum over kernel positions of the output's gradient that each meets."""
    places = _random_places(convolution.lhs, _MOST_VALUES)
    expected = np.zeros(len(places))
    for tap in np.ndindex(*convolution.rhs[:3]):
        reached = places[:, 1:4] - tap + [before for before, _ in convolution.padding]
        at, rest = np.divmod(reached, convolution.stride)
        inside = ((rest == 0) & (at >= 0) & (at < convolution.out[1:4])).all(axis=1)
        b, c = places[inside, 0], places[inside, 4]
        met = gradient[(b, *at[inside].T, c)].astype(np.float64)
        expected[inside] += met * rhs[(*tap, 0)][c].astype(np.float64)
    return expected, places


def _by_kernel(
    convolution: Convolution, lhs: np.ndarray, rhs: np.ndarray, gradient: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients by all kernel positions of some channels: the sum over outputs of input times gradient."""
    channels = np.unique(_random_places((convolution.rhs[4],), 8))
    margins = [(0, 0), *convolution.padding, (0, 0)]
    padded = np.pad(lhs[..., channels], margins).astype(np.float64)
    cotangent = gradient[..., channels].astype(np.float64)
    places, expected = [], []
    for tap in np.ndindex(*convolution.rhs[:3]):
        window = tuple(
            slice(start, start + step * (side - 1) + 1, step)
            for start, step, side in zip(tap, convolution.stride, convolution.out[1:4], strict=True)
        )
        expected.append(np.einsum("bdhwc,bdhwc->c", padded[:, *window], cotangent))
        places += [(*tap, 0, channel) for channel in channels]
    return np.concatenate(expected), np.array(places)


def _operand(shape: tuple[int, ...], dtype: str, number: int) -> np.ndarray:
    """Random values from -1 to 1, other ones for each operand."""
    pool = np.random.default_rng(number).uniform(-1, 1, _POOL).astype(jnp.dtype(dtype))
    return np.resize(pool, shape)


def _places(convolution: Convolution) -> np.ndarray:
    count = min(_MOST_VALUES, max(_LEAST_VALUES, _MOST_PRODUCTS // convolution.products))
    return _random_places(convolution.out, count)


def _random_places(shape: tuple[int, ...], count: int) -> np.ndarray:
    """Indices (n, rank), the first and the last among them: where an index overflows, the end is wrong."""
    flat = np.random.default_rng(3).integers(math.prod(shape), size=count)
    return np.stack(np.unravel_index([0, math.prod(shape) - 1, *flat], shape), axis=1)


def _error(result: np.ndarray, expected: np.ndarray) -> float:
    scale = np.sqrt(np.mean(np.square(expected)))
    return float(np.max(np.abs(result - expected)) / scale) if np.isfinite(result).all() else math.nan
