"""Optimisers by config: the paper's SGD with momentum (section 4.3), Nesterov's, Adam and AdamW."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import optax

from dsdenseunet.training.schedules import Schedule

NAMES = ("sgd", "adam")


def build(config: Mapping[str, Any], schedule: Schedule) -> optax.GradientTransformation:
    """The optimiser of `config.optimizer`; equal configs and schedules give the same object.

    In this order, each only where its field asks for it: the gradient's norm over all parameters is clipped
    to `clip_norm`; `sgd` (trace = gradient + momentum * trace; with `nesterov` the update looks a step ahead)
    or `adam`; `weight_decay` times the weight is added to the update of kernels alone (decoupled from the
    gradient, so that Adam with it is AdamW, Loshchilov and Hutter 2019); all of it times the learning rate.
    """
    names = ("name", "momentum", "nesterov", "beta1", "beta2", "epsilon", "weight_decay", "clip_norm")
    return _build(schedule, *(config[name] for name in names))


@functools.cache
def _build(
    schedule: Schedule,
    name: str,
    momentum: float,
    nesterov: bool,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
    clip_norm: float,
) -> optax.GradientTransformation:
    if name == "sgd" and not weight_decay and not clip_norm:
        return optax.sgd(schedule, momentum=momentum, nesterov=nesterov)
    scale = {
        "sgd": functools.partial(optax.trace, decay=momentum, nesterov=nesterov),
        "adam": functools.partial(optax.scale_by_adam, b1=beta1, b2=beta2, eps=epsilon),
    }
    parts = [
        *([optax.clip_by_global_norm(clip_norm)] if clip_norm else []),
        scale[name](),
        *([optax.add_decayed_weights(weight_decay, mask=kernels)] if weight_decay else []),
        optax.scale_by_learning_rate(schedule),
    ]
    return optax.chain(*parts)


def kernels(params: Any) -> Any:
    """Which of the parameters are kernels of convolutions: not biases, scales or other vectors."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)
