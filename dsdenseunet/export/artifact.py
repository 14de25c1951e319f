"""Writes a run's best network as a folder: StableHLO, weights, metadata and the loader.

The weights lie beside the program and are its arguments: either can be read alone, and the program is small
and the one that `predict` compiles, whereas weights that are constants would be folded and round otherwise.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util
from ml_collections import ConfigDict

from dsdenseunet import __version__
from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.export import origin, safetensors_writer, single_file
from dsdenseunet.export.segmenter import METADATA, PROGRAM, WEIGHTS
from dsdenseunet.inference.predict import class_probabilities
from dsdenseunet.models import registry
from dsdenseunet.ops.depthwise_choice import Device, lowering_for
from dsdenseunet.training.checkpoint import best_phase, load_best

LOADER = "load.py"
# What `jax.export` can write for, whatever is in this machine.
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def export(
    workdir: str,
    out: str,
    *,
    phase: str | None = None,
    platforms: Sequence[str] = ("cpu", "cuda"),
    data_licence: str | None = None,
) -> dict[str, Any]:
    """Writes the folder `out`, whole or not at all, and returns its metadata.

    Args:
        workdir: of the run.
        out: a folder that is not there, or empty.
        phase: whose best weights (None: the last one's that has some).
        platforms: names of `PLATFORMS`.
        data_licence: of the data that the network was trained on, for the metadata.

    Raises:
        InputError: no best weights, a platform that is none, a folder that has something in it, or
            flatbuffers is not installed.
    """
    check_platforms(platforms)
    check_installed()
    files.check_new_folder(out)
    phase = best_phase(workdir, phase)
    config, variables = load_best(workdir, phase)
    weights = traverse_util.flatten_dict(variables, sep="/")
    metadata = origin.describe(config, Path(workdir), phase, weights, platforms, data_licence)
    with files.new_folder(out) as folder:
        (folder / PROGRAM).write_bytes(program(config, weights, platforms))
        safetensors_writer.write(folder / WEIGHTS, weights, {"format": "flax", "about": json.dumps(metadata)})
        made_by = f"dsdenseunet {__version__}, commit {metadata['exported']['commit'] or 'unknown'}"
        (folder / LOADER).write_text(single_file.source(made_by), encoding="utf-8")
        metadata["files"] = {
            name: {"bytes": (folder / name).stat().st_size, "sha256": files.sha256(folder / name)}
            for name in (PROGRAM, WEIGHTS, LOADER)
        }
        files.write_json(folder / METADATA, metadata)
    return metadata


def check_platforms(platforms: Sequence[str]) -> None:
    """Refuses what `jax.export` cannot write for.

    Raises:
        InputError: no platform, one that is unknown, or one twice.
    """
    unknown = [name for name in platforms if name not in PLATFORMS]
    if unknown or not platforms or len(set(platforms)) < len(platforms):
        raise InputError(
            "--platforms",
            found=", ".join(unknown or platforms) or "none",
            expected=f"names of {', '.join(PLATFORMS)}, each once",
            fix="for example --platforms=cpu,cuda",
        )


def check_installed() -> None:
    """Refuses to begin without what JAX writes exported programs with.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise InputError(
            "flatbuffers",
            found="not installed",
            expected="the package with which jax.export writes a program",
            fix="pip install flatbuffers, or this project with its extra: pip install '.[export]'",
        )


def program(config: ConfigDict, weights: Mapping[str, Any], platforms: Sequence[str]) -> bytearray:
    """The network over a batch of patches, as `jax.export` serialises it.

    Its arguments: the weights by name; `config.inference.batch_size` normalised patches (B, D, H, W,
    channel), float32; three bools, the axes (D, H, W) that are mirrored before the network and back after it.
    Its result: class probabilities (B, D, H, W, class), float32.
    """
    model = registry.build(config.model)

    def network(weights: dict[str, jax.Array], patches_BDHWC: jax.Array, flip: jax.Array) -> jax.Array:
        variables = traverse_util.unflatten_dict(weights, sep="/")
        return class_probabilities(model, variables, patches_BDHWC, flip)

    patches = (config.inference.batch_size, *config.data.patch_size, len(config.task.channels))
    # Kernels of one card's kind cannot be kept for others.
    with lowering_for(Device("cpu")):
        exported = jax.export.export(jax.jit(network), platforms=list(platforms))(
            {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in weights.items()},
            jax.ShapeDtypeStruct(patches, jnp.float32),
            jax.ShapeDtypeStruct((3,), jnp.bool_),
        )
    return exported.serialize()
