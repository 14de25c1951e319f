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

from dsdenseunet.models import registry
from dsdenseunet.models.dense_block import DenseBlock
from dsdenseunet.models.dense_unet import Head, UpBlock
from dsdenseunet.models.layers import BatchNormReLU, Conv

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
    """

    name: str
    operation: str
    shape: tuple[int, ...]
    trainable: int = 0
    non_trainable: int = 0
    layers: int = 0
    macs: int = 0
    activation_bytes: int = 0


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
        """A line a stage and one of totals; multiply-adds in millions, activations in MiB."""
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
            "stages": [{**dataclasses.asdict(stage), "shape": list(stage.shape)} for stage in self.stages],
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
            return model.init(jax.random.key(0), image_BDHWC, train=False)

    variables = jax.eval_shape(run, jax.ShapeDtypeStruct((1, *shape), jnp.float32))
    return Description(shape, model_config.get("dtype", "float32"), tuple(tracer.stages(variables)))


def _size(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


class _Layer(NamedTuple):
    """A convolution, or a normalisation with its ReLU.

    Attributes:
        text: what it is.
        channels: of its output.
        macs: multiply-adds for one voxel of it.
        counted: how many layers it is, by the rule of `Description`.
    """

    text: str
    channels: int
    macs: int
    counted: int


def _norm(channels: int, counted: int = 2) -> _Layer:
    return _Layer("BN, ReLU", channels, 0, counted)


def _conv(
    in_channels: int,
    channels: int,
    size: Sequence[int],
    stride: Sequence[int] = (1,),
    depthwise: bool = False,
) -> _Layer:
    side = f"{size[0]}^3" if len(set(size)) == 1 else "x".join(map(str, size))
    strided = f" by {' x '.join(map(str, stride))}" if set(stride) != {1} else ""
    macs = math.prod(size) * (1 if depthwise else in_channels) * channels
    return _Layer(f"{'depthwise' if depthwise else 'conv'} {side}{strided}", channels, macs, 1)


def _dense_layers(block: DenseBlock) -> list[list[_Layer]]:
    """From the block's own description, as its layers run as one: see `models.dense_block`."""
    wide, growth = block.bottleneck, block.growth_rate
    point, cube = (1, 1, 1), (3, 3, 3)
    if block.separable:
        last = [_conv(wide, wide, cube, depthwise=True), _norm(wide, counted=0), _conv(wide, growth, point)]
    else:
        last = [_conv(wide, growth, cube)]
    sizes = [block.in_channels + growth * index for index in range(block.layers)]
    return [[_norm(size), _conv(size, wide, point), _norm(wide), *last] for size in sizes]


def _layers(module: nn.Module) -> list[_Layer]:
    if isinstance(module, Conv):
        return [_conv(module.in_channels, module.features, module.size, module.stride, module.depthwise)]
    if isinstance(module, BatchNormReLU):
        return [_norm(module.channels)]
    return list(itertools.chain(*_dense_layers(module))) if isinstance(module, DenseBlock) else []


class _Call(NamedTuple):
    """A module that ran: what came in and what went out; whether a second map came in (a link)."""

    module: nn.Module
    input: jax.Array
    output: jax.Array
    linked: bool


class _Tracer:
    """Notes every module that runs while a network is traced."""

    def __init__(self) -> None:
        self._calls: dict[ModulePath, _Call] = {}
        # In the order in which they start; a call is noted when it ends.
        self._order: list[ModulePath] = []

    def intercept(self, run: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        """For `flax.linen.intercept_methods`."""
        if context.method_name != "__call__":
            return run(*args, **kwargs)
        path = context.module.path
        self._order.append(path)
        output = run(*args, **kwargs)
        linked = len(args) > 1 and isinstance(args[1], jax.Array)
        self._calls[path] = _Call(context.module, args[0], output, linked)
        return output

    def stages(self, variables: Mapping[str, Any]) -> list[Stage]:
        """One row a top-level module, and one where something without parameters lies between two."""
        rows: list[Stage] = []
        # By identity: a map that goes from one module to the next is one object.
        maps: dict[int, jax.Array] = {}
        for path in (path for path in self._order if len(path) == 1):
            entering = self._calls[path].input
            if rows and id(entering) not in maps:
                maps[id(entering)] = entering
                rows.append(_pool(rows[-1].shape, entering))
            rows.append(self._stage(path[0], variables, maps))
        return rows

    def _stage(self, name: str, variables: Mapping[str, Any], maps: dict[int, jax.Array]) -> Stage:
        inside = [self._calls[path] for path in self._order if path[:1] == (name,)]
        stage = inside[0]
        new: dict[int, jax.Array] = {}
        macs = layers = hidden_bytes = 0
        for call in inside:
            new |= {id(array): array for array in (call.input, call.output) if id(array) not in maps}
            voxels = math.prod(call.output.shape[1:4])
            parts = _layers(call.module)
            macs += voxels * sum(layer.macs for layer in parts)
            layers += sum(layer.counted for layer in parts) + isinstance(call.module, UpBlock)
            if isinstance(call.module, DenseBlock):
                channels = sum(layer.channels for layer in parts)
                hidden_bytes += voxels * channels * call.output.dtype.itemsize
        maps |= new
        return Stage(
            name=name,
            operation=_operation(stage, inside),
            shape=tuple(stage.output.shape[1:]),
            trainable=_size(variables["params"].get(name, {})),
            non_trainable=_size(variables.get("batch_stats", {}).get(name, {})),
            layers=0 if isinstance(stage.module, Head) else layers,
            macs=macs,
            activation_bytes=hidden_bytes + sum(array.nbytes for array in new.values()),
        )


def _numbers(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{row['trainable']:,}", f"{row['macs'] / 1e6:,.1f}", f"{row['activation_bytes'] / 2**20:,.1f}"


def _pool(before: tuple[int, ...], pooled: jax.Array) -> Stage:
    shape = tuple(pooled.shape[1:])
    factors = " x ".join(str(-(-b // a)) for b, a in zip(before[:3], shape[:3]))
    return Stage("pool", f"pool by {factors}", shape, activation_bytes=pooled.nbytes)


def _operation(stage: _Call, inside: Sequence[_Call]) -> str:
    """The stage's layers in words; a dense block's equal layers once, with their number."""
    if isinstance(stage.module, DenseBlock):
        (first, *_) = dense_layers = _dense_layers(stage.module)
        return f"{len(dense_layers)} x ({', '.join(layer.text for layer in first)})"
    words = [layer.text for call in inside if call.module.name != "project" for layer in _layers(call.module)]
    if isinstance(stage.module, UpBlock):
        words.insert(0, _upsampling(stage.module, stage.linked))
    return ", ".join(words)


def _upsampling(block: UpBlock, linked: bool) -> str:
    axes = "".join(" DHW"[axis] for axis in block.axes)
    if not linked or block.link == "none":
        return f"upsample {axes}"
    return f"upsample {axes}, link ({'conv 1^3, add' if block.link == 'project' else block.link})"
