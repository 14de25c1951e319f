"""What a network is made of: stages, shapes, parameters, multiply-adds, activations; nothing is compiled."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dsdenseunet.models import registry
from dsdenseunet.models.dense_block import DenseBlock
from dsdenseunet.models.dense_unet import UpBlock
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
    # What the backward pass recomputes changes neither shapes nor counts.
    model = registry.build({**model_config, "remat": "none"})
    registry.check_patch(model.stride, patch_size)
    shape = (*patch_size, model_config["in_channels"])
    tracer = _Tracer()

    def run(image_BDHWC: jax.Array) -> Any:
        with nn.intercept_methods(tracer.intercept):
            return model.init(jax.random.key(0), image_BDHWC, train=False)

    variables = jax.eval_shape(run, jax.ShapeDtypeStruct((1, *shape), jnp.float32))
    return Description(shape, model_config["dtype"], tuple(tracer.stages(variables)))


def _size(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


@dataclasses.dataclass
class _Seen:
    """A module that the trace met. `input` and `output` are None where only its weights were taken."""

    module: nn.Module
    input: jax.Array | None = None
    output: jax.Array | None = None
    links: bool = False


class _Tracer:
    """Notes every module that runs, or gives its weights, while a network is traced."""

    def __init__(self) -> None:
        self.seen: dict[ModulePath, _Seen] = {}

    def intercept(self, run: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        """For `flax.linen.intercept_methods`."""
        module = context.module
        if context.method_name not in ("__call__", "weights"):
            return run(*args, **kwargs)
        seen = self.seen.setdefault(module.path, _Seen(module))
        result = run(*args, **kwargs)
        if context.method_name == "__call__":
            seen.input, seen.output = args[0], result
            seen.links = len(args) > 1 and isinstance(args[1], jax.Array)
        return result

    def stages(self, variables: Mapping[str, Any]) -> list[Stage]:
        """One row a top-level module, and one where something without parameters lies between two."""
        rows: list[Stage] = []
        # By identity: a map that goes from one module to the next is one object.
        maps: dict[int, jax.Array] = {}
        for path, seen in self.seen.items():
            if len(path) != 1 or seen.input is None or seen.output is None:
                continue
            if rows and id(seen.input) not in maps:
                maps[id(seen.input)] = seen.input
                rows.append(_pool(rows[-1].shape, seen.input))
            rows.append(self._stage(path[0], seen, variables, maps))
        return rows

    def _stage(
        self, name: str, stage: _Seen, variables: Mapping[str, Any], maps: dict[int, jax.Array]
    ) -> Stage:
        assert stage.output is not None
        inside = {path: seen for path, seen in self.seen.items() if path[:1] == (name,)}
        macs = unseen_bytes = layers = 0
        new = {}
        for path, seen in inside.items():
            for array in (seen.input, seen.output):
                if array is not None and id(array) not in maps:
                    new[id(array)] = array
            layers += _counted_layers(path, seen.module)
            if not isinstance(seen.module, Conv | BatchNormReLU):
                continue
            voxels = self._output_voxels(path)
            weights = _at(variables["params"], path)
            if isinstance(seen.module, Conv):
                macs += math.prod(weights["kernel"].shape) * voxels
            if seen.output is None:
                channels = weights["kernel" if "kernel" in weights else "scale"].shape[-1]
                unseen_bytes += channels * voxels * stage.output.dtype.itemsize
        maps |= new
        return Stage(
            name=name,
            operation=_operation(stage, inside),
            shape=tuple(stage.output.shape[1:]),
            trainable=_size(variables["params"].get(name, {})),
            non_trainable=_size(variables["batch_stats"].get(name, {})),
            layers=layers,
            macs=macs,
            activation_bytes=unseen_bytes + sum(array.nbytes for array in new.values()),
        )

    def _output_voxels(self, path: ModulePath) -> int:
        """Of the module, or where only its weights were taken of the one that it is part of."""
        while (output := self.seen[path].output) is None:
            path = path[:-1]
        return math.prod(output.shape[1:4])


def _numbers(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{row['trainable']:,}", f"{row['macs'] / 1e6:,.1f}", f"{row['activation_bytes'] / 2**20:,.1f}"


def _at(tree: Any, path: ModulePath) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def _pool(before: tuple[int, ...], pooled: jax.Array) -> Stage:
    shape = tuple(pooled.shape[1:])
    factors = " x ".join(str(-(-b // a)) for b, a in zip(before[:3], shape[:3]))
    return Stage("pool", f"pool by {factors}", shape, activation_bytes=pooled.nbytes)


def _counted_layers(path: ModulePath, module: nn.Module) -> int:
    if path[0] == "head" or path[-1] == "norm3":
        return 0
    if isinstance(module, BatchNormReLU):
        return 2
    return 1 if isinstance(module, Conv | UpBlock) else 0


def _operation(stage: _Seen, inside: Mapping[ModulePath, _Seen]) -> str:
    """The stage's layers in words; a dense block's equal layers once, with their number."""
    layers = [item for item in inside.items() if isinstance(item[1].module, Conv | BatchNormReLU)]
    if isinstance(stage.module, DenseBlock):
        dense_layers = itertools.groupby(layers, key=lambda item: item[0][:2])
        texts = [", ".join(_layer(seen.module) for _, seen in parts) for _, parts in dense_layers]
        return f"{len(texts)} x ({texts[0]})"
    words = [_layer(seen.module) for path, seen in layers if path[-1] != "project"]
    if isinstance(stage.module, UpBlock):
        words.insert(0, _upsampling(stage.module, stage.links))
    return ", ".join(words)


def _layer(module: nn.Module) -> str:
    if isinstance(module, BatchNormReLU):
        return "BN, ReLU"
    assert isinstance(module, Conv)
    sides = set(module.size)
    size = f"{module.size[0]}^3" if len(sides) == 1 else "x".join(map(str, module.size))
    strided = f" by {' x '.join(map(str, module.stride))}" if set(module.stride) != {1} else ""
    return f"{'depthwise' if module.depthwise else 'conv'} {size}{strided}"


def _upsampling(block: UpBlock, linked: bool) -> str:
    axes = "".join(" DHW"[axis] for axis in block.axes)
    if not linked or block.link == "none":
        return f"upsample {axes}"
    return f"upsample {axes}, link ({'conv 1^3, add' if block.link == 'project' else block.link})"
