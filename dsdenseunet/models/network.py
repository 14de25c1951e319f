"""What a network is to everything else: the one place where a family plugs in.

A family is a `Network`, a Flax module whose fields are those of `config.model` without `family`, and one line
in `models.registry`. State, training, prediction, `describe`, the planner of memory, the advice after
exhausted memory and the preflight ask the network, and know no family by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from dsdenseunet.core.fields import Check


class Outputs(NamedTuple):
    """What a network says of an image.

    Attributes:
        logits: class scores before the softmax, (B, D, H, W, num_classes), float32.
        auxiliary: scores of coarser grids of the same extent, finest first, for deep supervision: as many as
            `Network.auxiliary_outputs` while training, none otherwise.
    """

    logits: Array
    auxiliary: tuple[Array, ...] = ()


class Network(nn.Module, kw_only=True):
    """A family of networks.

    Attributes:
        in_channels: channels of the image.
        num_classes: classes of the logits.
        remats: what `config.model.remat` can be, to trade time for memory: by its name the stages (by the
            start of their names) whose convolutions the backward pass then computes again. A family with
            more than `none` has a field `remat`.
        dtypes: what `config.model.dtype`, the type of activations, can be. A family with more than `float32`
            has a field `dtype`.
        checks: of fields by name; a field with a check has to be in the config.
        auxiliary_outputs: number of coarser outputs while training; a family that can have some has it as a
            field.
    """

    in_channels: int
    num_classes: int

    remats: ClassVar[Mapping[str, tuple[str, ...]]] = {"none": ()}
    dtypes: ClassVar[Sequence[str]] = ("float32",)
    checks: ClassVar[Mapping[str, Check]] = {}
    auxiliary_outputs = 0

    @property
    def stride(self) -> tuple[int, int, int]:
        """Factor between input and deepest map along (D, H, W): a patch's sides are multiples of it."""
        raise NotImplementedError

    def __call__(self, image_BDHWC: Array, train: bool) -> Outputs:
        """Maps an image to class scores.

        Args:
            image_BDHWC: normalised intensities, float32; D, H, W multiples of `stride`.
            train: whether this is a training step: batch statistics, dropout, auxiliary outputs.
        """
        raise NotImplementedError

    @classmethod
    def check_together(cls, values: Mapping[str, Any]) -> None:
        """Refuses fields that are each possible, but not together.

        Raises:
            InputError: the first that does not fit.
        """

    @nn.nowrap
    def first_values(self, seed: int = 0) -> dict[str, Any]:
        """First values of all variables, drawn by the modules' own initialisers.

        Returns:
            `{"params": ...}`, and `batch_stats` where the network has some; float32 NumPy leaves.
        """
        # Of the network's own work nothing is left in the compiled program: no output depends on it.
        init = jax.jit(lambda key: self.init(key, jnp.zeros(_least_image(self)), train=False))
        return jax.tree.map(np.asarray, init(jax.random.key(seed)))

    @nn.nowrap
    def adapted(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Weights of a related network, brought to this one's shapes where the family knows how.

        The rest stays as it is, to be refused by name (`training.warm_start`). Leaves are NumPy arrays.
        """
        return params


class Operation(NamedTuple):
    """A convolution, or a normalisation with its activation: what a module's `operations` lists.

    A module says by a method `operations()` what it computes apart from the modules that it calls: a list of
    operations, or a list of such lists where parts of it are alike.

    Attributes:
        text: what it is.
        macs: multiply-adds for one voxel of the module's output.
        counted: how many layers it is, by the rule of `memory.description`.
        kept: channels of its output, where no module's input or output shows it.
    """

    text: str
    macs: int = 0
    counted: int = 1
    kept: int = 0


def traded(model_config: Mapping[str, Any]) -> tuple[str, str]:
    """`remat` and `dtype` of a `config.model`, which has them where its family has a choice."""
    return model_config.get("remat", "none"), model_config.get("dtype", "float32")


def abstract_variables(network: nn.Module) -> dict[str, Any]:
    """Shapes and types of all variables; nothing is computed."""
    return jax.eval_shape(
        lambda image: network.init(jax.random.key(0), image, train=False),
        jax.ShapeDtypeStruct(_least_image(network), jnp.float32),
    )


def _least_image(network: Any) -> tuple[int, ...]:
    return (1, *network.stride, network.in_channels)
