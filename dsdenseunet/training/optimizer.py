"""Optimisers by config: the paper's SGD with momentum (section 4.3), Nesterov's, Adam, AdamW and Muon."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import optax

from dsdenseunet.training.arrays import matches, name_of
from dsdenseunet.training.muon import scale_by_muon
from dsdenseunet.training.schedules import Schedule

NAMES = ("sgd", "adam", "muon")


def build(config: Mapping[str, Any], schedule: Schedule) -> optax.GradientTransformation:
    """The optimiser of `config.optimizer`; equal configs and schedules give the same object.

    In this order, each only where its field asks for it: the gradient's norm over all parameters is clipped
    to `clip_norm`; `sgd` (trace = gradient + momentum * trace; with `nesterov` an update looks a step ahead),
    `adam`, or `muon`: that for the kernels that `muon_parameters` names, times `muon_scale`, and Adam for the
    rest; `weight_decay` times the weight is added to updates of kernels alone (decoupled from gradients, so
    that Adam with it is AdamW, Loshchilov and Hutter 2019); all of it times the learning rate.
    """
    names = ("name", "momentum", "nesterov", "beta1", "beta2", "epsilon", "weight_decay", "clip_norm")
    muon = (config["muon_scale"], tuple(config["muon_parameters"]))
    return _build(schedule, *(config[name] for name in names), *muon)


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
    muon_scale: float,
    muon_parameters: tuple[str, ...],
) -> optax.GradientTransformation:
    if name == "sgd" and not weight_decay and not clip_norm:
        return optax.sgd(schedule, momentum=momentum, nesterov=nesterov)
    adam = optax.scale_by_adam(b1=beta1, b2=beta2, eps=epsilon)
    labels = functools.partial(muon_or_adam, patterns=muon_parameters)
    scale = {
        "sgd": optax.trace(decay=momentum, nesterov=nesterov),
        "adam": adam,
        "muon": optax.partition({"muon": scale_by_muon(momentum, muon_scale), "adam": adam}, labels),
    }
    parts = [
        *([optax.clip_by_global_norm(clip_norm)] if clip_norm else []),
        scale[name],
        *([optax.add_decayed_weights(weight_decay, mask=kernels)] if weight_decay else []),
        optax.scale_by_learning_rate(schedule),
    ]
    return optax.chain(*parts)


def muon_or_adam(params: Any, patterns: tuple[str, ...]) -> Any:
    """Which optimiser each of the parameters has: "muon" where it is a matrix whose name fits the patterns.

    Kernels of depthwise convolutions, or of one input channel, are no matrices.
    """

    def label(path: jax.tree_util.KeyPath, leaf: Any) -> str:
        is_matrix = path[-1].key == "kernel" and leaf.ndim > 1 and leaf.shape[-2] > 1
        return "muon" if is_matrix and matches(name_of("params", path), patterns) else "adam"

    return jax.tree_util.tree_map_with_path(label, params)


def kernels(params: Any) -> Any:
    """Which of the parameters are kernels of convolutions: not biases, scales or other vectors."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)
