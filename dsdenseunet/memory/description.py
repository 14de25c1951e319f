"""What a network is made of: stages, shapes, parameters, multiply-adds, activations; nothing is compiled."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dsdenseunet.memory import flow
from dsdenseunet.models import registry
from dsdenseunet.models.layers import convolution
from dsdenseunet.models.network import Operation

ModulePath = tuple[str, ...]
_TOTALS = {
    "layers": "layers",
    "trainable": "trainable parameters",
    "non_trainable": "not trainable",
    "total": "in all",
    "macs": "multiply-adds",
    "activation_bytes": "bytes of activations",
}


@dataclasses.dataclass(frozen=True)
class Stage:
    """One row of the table.

    Attributes:
        name: of the stage's module.
        operation: its layers, in order.
        shape: of its output, (D, H, W, C).
        trainable: parameters that the optimiser moves.
        non_trainable: running statistics of the normalisations.
        layers: counted as the paper does, see `Description`.
        macs: multiply-adds of its convolutions for one input; those in the padding count too.
        activation_bytes: of the maps that go into and out of its layers for one input, each map once
            and in the stage that sees it first: about what a backward pass without
            rematerialisation keeps.
        inputs: names of the stages whose maps it sees, the latest last, "image" for the network's own
            input; empty for a pool between two stages.
    """

    name: str
    operation: str
    shape: tuple[int, ...]
    trainable: int = 0
    non_trainable: int = 0
    layers: int = 0
    macs: int = 0
    activation_bytes: int = 0
    inputs: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Description:
    """A network on an input of one size.

    The number of layers follows the rule that gives the paper's 569 (section 3): every convolution,
    normalisation, ReLU and upsampling counts one, but for the third normalisation and ReLU of a
    separable dense layer, and for the head.

    Attributes:
        input_shape: (D, H, W, C).
        dtype: of the activations.
        stages: in the order in which they run.
    """

    input_shape: tuple[int, ...]
    dtype: str
    stages: tuple[Stage, ...]

    def totals(self) -> dict[str, int]:
        """trainable, non_trainable, total, layers, macs and activation_bytes of all stages."""
        names = ("trainable", "non_trainable", "layers", "macs", "activation_bytes")
        sums = {name: sum(getattr(stage, name) for stage in self.stages) for name in names}
        return {**sums, "total": sums["trainable"] + sums["non_trainable"]}

    def table(self) -> str:
        """One line per stage and one of totals; multiply-adds in millions, activations in MiB."""
        lines = [("stage", "operation", "output, D x H x W x C", "parameters", "MMAC", "MiB")]
        for stage in self.stages:
            shape = " x ".join(map(str, stage.shape))
            lines.append((stage.name, stage.operation, shape, *_numbers(dataclasses.asdict(stage))))
        totals = self.totals()
        lines.append(("total", "", "", *_numbers(totals)))
        widths = [max(map(len, column)) for column in zip(*lines)]
        texts = [
            "  ".join(
                cell.ljust(w) if i < 3 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths))
            )
            for line in lines
        ]
        texts.insert(1, "  ".join("-" * width for width in widths))
        counts = [f"{totals[name]:,} {label}" for name, label in _TOTALS.items()]
        return "\n".join([*texts, "", ", ".join(counts)])

    def as_json(self) -> dict[str, Any]:
        """Totals, input and stages as plain values."""
        return {
            **self.totals(),
            "input_shape": list(self.input_shape),
            "dtype": self.dtype,
            "stages": [
                {**dataclasses.asdict(stage), "shape": list(stage.shape), "inputs": list(stage.inputs)}
                for stage in self.stages
            ],
        }


def describe(model_config: Mapping[str, Any], patch_size: Sequence[int]) -> Description:
    """Describes the network of `config.model` on a patch.

    Args:
        model_config: as `registry.build` takes it.
        patch_size: (D, H, W).

    Raises:
        InputError: a config that makes no network, or a patch that does not fit it.
    """
    model = registry.build(model_config)
    registry.check_patch(model.stride, patch_size)
    shape = (*patch_size, model.in_channels)
    tracer = _Tracer()

    def run(image_BDHWC: jax.Array) -> Any:
        with nn.intercept_methods(tracer.intercept):
            return model.init(jax.random.key(0), flow.marked(image_BDHWC, "image"), train=False)

    image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    program, variables = jax.make_jaxpr(run, return_shape=True)(image)
    stages = tracer.stages(variables, flow.sources(program))
    return Description(shape, model_config.get("dtype", "float32"), tuple(stages))


def _size(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


class _Call(NamedTuple):
    """A module that ran: what came in and what went out."""

    module: nn.Module
    input: jax.Array
    output: jax.Array


def _sides(value: Any) -> tuple[int, int, int]:
    d, h, w = (value,) * 3 if isinstance(value, int) else value
    return d, h, w


def _operations(call: _Call) -> list[list[Operation]]:
    """What a module computes itself, apart from the modules that it calls, in parts."""
    module: Any = call.module
    if isinstance(module, nn.Conv):
        size, stride = (_sides(module.kernel_size), _sides(module.strides or 1))
        inputs = call.input.shape[-1] // module.feature_group_count
        return [[convolution(inputs, module.features, size, stride)]]
    listed = module.operations() if hasattr(module, "operations") else []
    return [listed] if listed and isinstance(listed[0], Operation) else listed


class _Tracer:
    """Notes every module that runs while a network is traced."""

    def __init__(self) -> None:
        self._calls: dict[ModulePath, _Call] = {}
        # In the order in which they start; a call is noted when it ends.
        self._order: list[ModulePath] = []
        # What a stage gives, by the identity of its marked form, which the others get to see.
        self._given: dict[int, tuple[jax.Array, jax.Array]] = {}

    def intercept(self, run: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        """For `flax.linen.intercept_methods`."""
        if context.method_name != "__call__":
            return run(*args, **kwargs)
        path = context.module.path
        self._order.append(path)
        output = run(*args, **kwargs)
        given, _ = self._given.get(id(args[0]), (args[0], None))
        self._calls[path] = _Call(context.module, given, output)
        if len(path) != 1:
            return output
        marked = flow.marked(output, path[0])
        self._given[id(marked)] = output, marked
        return marked

    def stages(self, variables: Mapping[str, Any], sources: Mapping[str, tuple[str, ...]]) -> list[Stage]:
        """One row per top-level module, and one for each pool between two of them."""
        rows: list[Stage] = []
        # By identity: a map that goes from one module to the next is one object.
        maps: dict[int, jax.Array] = {}
        for path in (path for path in self._order if len(path) == 1):
            entering = self._calls[path].input
            if rows and id(entering) not in maps and entering.shape[1:4] != rows[-1].shape[:3]:
                maps[id(entering)] = entering
                rows.append(_pool(rows[-1].shape, entering))
            stage = self._stage(path[0], variables, maps)
            rows.append(dataclasses.replace(stage, inputs=sources[stage.name]))
        return rows

    def _stage(self, name: str, variables: Mapping[str, Any], maps: dict[int, jax.Array]) -> Stage:
        inside = [self._calls[path] for path in self._order if path[:1] == (name,)]
        stage = inside[0]
        new: dict[int, jax.Array] = {}
        macs = layers = hidden_bytes = 0
        for call in inside:
            new |= {id(array): array for array in (call.input, call.output) if id(array) not in maps}
            voxels = math.prod(call.output.shape[1:4])
            operations = [one for part in _operations(call) for one in part]
            macs += voxels * sum(one.macs for one in operations)
            layers += sum(one.counted for one in operations)
            hidden_bytes += voxels * sum(one.kept for one in operations) * call.output.dtype.itemsize
        maps |= new
        return Stage(
            name=name,
            operation=_stage_in_words(inside),
            shape=tuple(stage.output.shape[1:]),
            trainable=_size(variables["params"].get(name, {})),
            non_trainable=_size(variables.get("batch_stats", {}).get(name, {})),
            layers=0 if name == "head" else layers,
            macs=macs,
            activation_bytes=hidden_bytes + sum(array.nbytes for array in new.values()),
        )


def _numbers(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{row['trainable']:,}", f"{row['macs'] / 1e6:,.1f}", f"{row['activation_bytes'] / 2**20:,.1f}"


def _pool(before: tuple[int, ...], pooled: jax.Array) -> Stage:
    shape = tuple(pooled.shape[1:])
    factors = " x ".join(str(-(-b // a)) for b, a in zip(before[:3], shape[:3]))
    return Stage("pool", f"pool by {factors}", shape, activation_bytes=pooled.nbytes)


def _stage_in_words(inside: Sequence[_Call]) -> str:
    """What a stage computes; of parts in a row that are alike the first, with their number."""
    parts = [
        ", ".join(filter(None, map(_words, calls)))
        for _, calls in itertools.groupby(inside, lambda call: call.module.path[:2])
    ]
    alike = [(part, len(list(group))) for part, group in itertools.groupby(filter(None, parts))]
    return ", ".join(f"{count} x ({part})" if count > 1 else part for part, count in alike)


def _words(call: _Call) -> str:
    """What a module computes itself; of several parts that are alike the first, with their number."""
    parts = [", ".join(one.text for one in part) for part in _operations(call)]
    return f"{len(parts)} x ({parts[0]})" if len(parts) > 1 else "".join(parts)
