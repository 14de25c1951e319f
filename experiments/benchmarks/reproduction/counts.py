"""Table 3 by arithmetic: what each part of a 3D-DenseUNet counts, and under which reading of the paper.

`dsdenseunet.memory.description` counts the network itself; tests hold this arithmetic to it part by part.
What the paper leaves open, or contradicts, is a matter of terms, which only arithmetic shows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from configs.ds_dense_unet_569 import get_config
from dsdenseunet.memory.description import describe
from experiments.benchmarks.reproduction import paper

VARIANTS = ("ds", "standard")
_CUBE = 27


class Part(NamedTuple):
    """What one stage of the network adds.

    Attributes:
        name: of the stage, as `describe` has it.
        kernels: weights of its convolutions.
        biases: by the kind of convolution, see `BIASED`.
        entering: channels that are normalised where maps enter the stage or its layers, or leave it.
        inside: channels that are normalised inside its dense layers.
    """

    name: str
    kernels: int
    biases: Mapping[str, int]
    entering: int
    inside: int = 0

    @property
    def normalised(self) -> int:
        """Channels of all its normalisations: each has two trainable values and two that are not."""
        return self.entering + self.inside


# The kinds of convolution, and whether this project's have a bias.
BIASED = {
    "stem": False,
    "pointwise in front of a dense layer": True,
    "depthwise of a dense layer": True,
    "last of a dense layer": False,
    "pointwise of a transition": False,
    "strided of a transition": True,
    "decoder": True,
    "classifier": True,
}


def parts(model: Mapping[str, Any], added: int | None = None) -> list[Part]:
    """The stages of `config.model` of a 3D-DenseUNet whose links have no parameters.

    Args:
        model: the config.
        added: channels that a dense layer adds and normalises, where that is not the growth rate: the
            reading that fits the paper's standard column. Transitions go on counting the growth rate.
    """
    growth, wide, stem = model["growth_rate"], model["bottleneck"], model["stem_channels"]
    grows, channels = added or growth, stem
    found = [Part("stem", 7**3 * model["in_channels"] * stem, {"stem": stem}, stem)]
    for number, layers in enumerate(model["block_layers"], start=1):
        entering = sum(channels + grows * layer for layer in range(layers))
        biases = {
            "pointwise in front of a dense layer": layers * wide,
            "last of a dense layer": layers * grows,
        }
        if model["separable"]:
            kernels = entering * wide + layers * (_CUBE * wide + wide * grows)
            biases["depthwise of a dense layer"] = layers * wide
            inside = 2 * wide * layers
        else:
            kernels = entering * wide + layers * _CUBE * wide * grows
            inside = (wide + (grows if added else 0)) * layers
        found.append(Part(f"block{number}", kernels, biases, entering, inside))
        leaving, counted = channels + grows * layers, channels + growth * layers
        if number < len(model["block_layers"]):
            channels = math.floor(counted * model["compression"])
            strided = _CUBE * channels * (1 if model["separable"] else channels)
            biases = {"pointwise of a transition": channels, "strided of a transition": channels}
            found.append(Part(f"transition{number}", leaving * channels + strided, biases, leaving))
        else:
            channels = leaving
            found.append(Part("norm", 0, {}, leaving))
    for number, features in enumerate(model["decoder_channels"], start=1):
        found.append(Part(f"up{number}", _CUBE * channels * features, {"decoder": features}, features))
        channels = features
    classes = model["num_classes"]
    return [*found, Part("head", channels * classes, {"classifier": classes}, channels)]


def grouped(found: Sequence[Part]) -> dict[str, int]:
    """Channels that are normalised, by where they are: the sum of Table 3's count."""
    of_kind = {name: sum(p.entering for p in found if p.name.startswith(name)) for name in _PLACES}
    inside = sum(part.inside for part in found)
    return {_PLACES["block"]: of_kind["block"], "inside dense layers": inside} | {
        words: of_kind[name] for name, words in _PLACES.items() if name != "block"
    }


_PLACES = {
    "block": "entering dense layers",
    "transition": "entering transitions",
    "norm": "after the last dense block",
    "stem": "stem",
    "up": "decoder",
    "head": "entering the classifier",
}


def trainable(found: Sequence[Part], biased: Mapping[str, bool] = BIASED) -> int:
    """Kernels, those biases that there are, and two values for each normalised channel."""
    biases = sum(count for part in found for kind, count in part.biases.items() if biased[kind])
    return sum(part.kernels + 2 * part.normalised for part in found) + biases


def patterns_of_biases(found: Sequence[Part], goal: int, most: int) -> dict[str, Any]:
    """Which convolutions would have to have a bias for a count of `goal` trainable parameters.

    Returns:
        `left`, what kernels and normalisations leave for biases; how many `patterns` there are; and `near`,
        those that miss by at most `most`: how far they are off (`over`), and the `kinds` with a bias.
    """
    kinds = list(BIASED)
    without = trainable(found, dict.fromkeys(kinds, False))
    near: list[dict[str, Any]] = []
    for choice in itertools.product((False, True), repeat=len(kinds)):
        biased = dict(zip(kinds, choice))
        if abs(over := trainable(found, biased) - goal) <= most:
            near.append({"over": over, "kinds": [kind for kind in kinds if biased[kind]]})
    near.sort(key=lambda one: (abs(one["over"]), one["kinds"]))
    return {"left": goal - without, "patterns": 2 ** len(kinds), "near": near}


def table_3() -> dict[str, Any]:
    """The paper's Table 3 beside the networks' counts, and what explains where they differ."""
    models, described = {}, {}
    for variant in VARIANTS:
        config = get_config(variant)
        models[variant] = config.model.to_dict()
        described[variant] = describe(config.model, config.data.patch_size)
    counted = {variant: parts(models[variant]) for variant in VARIANTS}
    layers = {stage.name: stage.layers for stage in described["ds"].stages}
    dense_layers, wide = sum(models["ds"]["block_layers"]), models["ds"]["bottleneck"]
    ours = {variant: described[variant].totals() for variant in VARIANTS}
    over = abs(ours["ds"]["trainable"] - paper.TABLE_3["ds"]["trainable"])
    return {
        "paper": {
            **paper.TABLE_3,
            "trainable_in_text": paper.TRAINABLE_IN_TEXT,
            "layers_in_text": paper.LAYERS,
            "times_less_memory_in_text": paper.TIMES_LESS_MEMORY,
        },
        "ours": ours,
        "normalised": {variant: grouped(counted[variant]) for variant in VARIANTS},
        "biases": patterns_of_biases(counted["ds"], paper.TABLE_3["ds"]["trainable"], over),
        "layers": {
            "dense_layers": dense_layers,
            "of_a_dense_layer": sum(n for name, n in layers.items() if "block" in name) // dense_layers,
            "stem": layers["stem"],
            "transitions": sum(n for name, n in layers.items() if "transition" in name),
            "last": layers["norm"],
            "decoder": sum(n for name, n in layers.items() if name.startswith("up")),
            "non_trainable_with_two_norms": ours["ds"]["non_trainable"] - 2 * wide * dense_layers,
        },
        "wider": wider(models["standard"]),
    }


def wider(model: Mapping[str, Any]) -> dict[str, Any]:
    """The standard network whose layers add more channels than the transitions count.

    The added channels are those with which the normalised ones are the paper's; what all of it would have
    to train, if the decoder met all channels or those that the growth rate gives, is another number.
    """
    goal = paper.TABLE_3["standard"]["non_trainable"] // 2
    added = next(
        (a for a in range(1, 1025) if sum(p.normalised for p in parts(model, a)) == goal),
        None,
    )
    if added is None:
        return {"added": None}
    found, usual = parts(model, added), parts(model)
    narrow = [next(u for u in usual if u.name == p.name) if p.name == "up1" else p for p in found]
    return {
        "added": added,
        "growth": model["growth_rate"],
        "normalised": grouped(found),
        "trainable": trainable(found),
        "trainable_narrow_decoder": trainable(narrow),
    }
