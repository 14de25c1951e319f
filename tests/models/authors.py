"""What networks give in their authors' own code, for an image and weights that a formula makes.

Each file in authors/ names a network's fields, the shape of the image, the versions that gave the numbers,
and of every output some values. They were computed outside of this project, with the weights of `variables`
carried over into the authors' module.
"""

import json
from pathlib import Path

import flax.traverse_util
import jax
import numpy as np

from dsdenseunet.models import initialise
from dsdenseunet.models.network import abstract_variables
from dsdenseunet.models.registry import build

FOLDER = Path(__file__).parent / "authors"
_SEED = 0
_VALUES = 24


def image(shape):
    """Standard normal values, float32."""
    return np.random.default_rng(_SEED).standard_normal(shape).astype(np.float32)


def variables(network):
    """Of every variable, in the order of their names, standard normal values, scaled by what it is."""
    rng = np.random.default_rng(_SEED)
    shapes = flax.traverse_util.flatten_dict(abstract_variables(network), sep="/")
    found = {}
    for name in sorted(shapes):
        kind, shape = name.rpartition("/")[2], shapes[name].shape
        drawn = rng.standard_normal(shape)
        scaled = {
            "kernel": lambda drawn=drawn, shape=shape: drawn / np.sqrt(initialise.fan_in(shape)),
            "scale": lambda drawn=drawn: 1 + drawn / 10,
            "var": lambda drawn=drawn: np.exp(drawn / 10),
        }.get(kind, lambda drawn=drawn: drawn / 10)()
        found[name] = scaled.astype(np.float32)
    return flax.traverse_util.unflatten_dict(found, sep="/")


def some(output):
    """Values of an output (B, D, H, W, C) that are evenly spaced in it, and its mean and deviation."""
    flat = np.asarray(output, np.float64).ravel()
    chosen = flat[np.linspace(0, flat.size - 1, min(_VALUES, flat.size)).astype(int)]
    return {"values": chosen.tolist(), "mean": float(flat.mean()), "std": float(flat.std())}


def assert_equal_to_authors(name, *, train=False):
    """All outputs of the network of authors/`name`.json, its coarser ones too where `train`.

    A network whose dropout or batch statistics differ in training is held to its authors' with train=False.
    """
    record = json.loads((FOLDER / f"{name}.json").read_text())
    network = build(record["model"])
    given, x = variables(network), image(record["image"])
    outputs = jax.jit(lambda given, x: network.apply(given, x, train=train))(given, x)
    outputs = (outputs.logits, *outputs.auxiliary)
    assert len(outputs) == len(record["outputs"])
    for output, expected in zip(outputs, record["outputs"], strict=True):
        for key, found in some(output).items():
            np.testing.assert_allclose(found, expected[key], rtol=1e-4, atol=1e-4)
