"""One program, compiled in a process of its own, and the compiler's figures of it.

    python -m dsdenseunet.memory.planner.program REQUEST.json ANSWER.json

A crash of the compiler ends only this process. `compiler.Compiler` writes the request
and sets the environment, which XLA reads once, when JAX starts.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding
from ml_collections import ConfigDict

from dsdenseunet.core import files
from dsdenseunet.inference import sliding_window
from dsdenseunet.inference.predict import class_probabilities
from dsdenseunet.memory.planner import hlo
from dsdenseunet.models import registry
from dsdenseunet.ops import depthwise_choice
from dsdenseunet.runtime import parallel
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.settings import config_from_json
from dsdenseunet.training.state import abstract_state, variables_of
from dsdenseunet.training.step import train_step


def measure(request: Mapping[str, Any]) -> dict[str, Any]:
    """Compiles what the request asks for.

    Args:
        request: `config` as `settings.config_to_json` gives it; `program`: `train`, `inference` or `volume`;
            `target`: a `GpuTargetConfigProto` as text, or None for this machine's processor; `programs`: a
            folder in which programs that were compiled before are found by what they are.

    Returns:
        `memory`, bytes by the names of `CompiledMemoryStats` (of `volume`: one such mapping a program);
        `bytes_accessed` and `kernels` of a run; for `train` the parts of the state in bytes; seconds.
    """
    config = config_from_json(request["config"])
    with lowering_for(request["target"]) as device:
        if request["program"] == "volume":
            return {"memory": _volume(config, device, request["volume"])}
        start = time.perf_counter()
        lowered, parts = (lower_step if request["program"] == "train" else _inference)(config, device)
        traced = time.perf_counter() - start
        known = _known(request, lowered)
        answer = files.read_json(known) if known.exists() else _compile(lowered)
        files.write_json(known, answer)
        return {**answer, **parts, "trace_s": round(traced, 1)}


@contextlib.contextmanager
def lowering_for(target: str | None) -> Iterator[jax.Device]:
    """The device of a request's `target`; the network takes its forms for it, not for what compiles."""
    device = _device(target)
    capability = depthwise_choice.parse_capability(getattr(device, "compute_capability", None))
    with depthwise_choice.lowering_for(depthwise_choice.Device("gpu" if target else "cpu", capability)):
        yield device


def _device(target: str | None) -> jax.Device:
    if target is None:
        return jax.devices("cpu")[0]
    (device,) = topologies.get_topology_desc(
        topology_name="planned", platform="cuda", target_config=target, topology="1x1x1"
    ).devices
    return device


def _known(request: Mapping[str, Any], lowered: Any) -> Path:
    what = f"{jax.__version__}\n{request['target']}\n{lowered.as_text()}"
    return Path(request["programs"]) / f"{hashlib.sha256(what.encode()).hexdigest()}.json"


def _compile(lowered: Any) -> dict[str, Any]:
    start = time.perf_counter()
    compiled, options = compiled_with(lowered, {})
    seconds = time.perf_counter() - start
    moved = hlo.traffic(compiled.as_text())
    return {
        "memory": memory_of(compiled),
        "bytes_accessed": moved.bytes,
        "kernels": moved.kernels,
        "compile_s": round(seconds, 1),
        "compiler_options": options,
    }


def compiled_with(lowered: Any, options: dict[str, Any]) -> tuple[Any, dict[str, bool]]:
    """Compiles; returns also the options, beside those asked for, without which it did not."""
    try:
        return lowered.compile(compiler_options=options), {}
    except jax.errors.JaxRuntimeError:
        # Without a card to try tiles on, XLA finds none for some matrix products that it fuses itself; the
        # library's products are what it would choose from too.
        needed = {"xla_gpu_enable_triton_gemm": False}
        return lowered.compile(compiler_options=options | needed), needed


def memory_of(compiled: Any) -> dict[str, int]:
    """A compiled program's bytes by the names of `CompiledMemoryStats`."""
    stats = compiled.memory_analysis()
    names = ("argument", "output", "alias", "temp")
    return {name: int(getattr(stats, f"{name}_size_in_bytes")) for name in names}


def lower_step(config: ConfigDict, device: jax.Device) -> tuple[Any, dict[str, Any]]:
    """The training step for a device, not compiled yet, and bytes of what it is given."""
    state = abstract_state(build_recipe(config))
    shape = (config.data.batch_size, *config.data.patch_size)
    batch = {
        "image": jax.ShapeDtypeStruct((*shape, config.model.in_channels), jnp.float32),
        "labels": jax.ShapeDtypeStruct(shape, jnp.int32),
    }
    step: Any = parallel.compile_step(train_step, parallel.data_mesh([device]))
    parts = {
        "parameters": _bytes(state.params),
        "statistics": _bytes(state.batch_stats),
        "optimiser": _bytes(state.opt_state),
        "batch": _bytes(batch),
    }
    return step.lower(state, batch), {"parts": parts}


def _inference(config: ConfigDict, device: jax.Device) -> tuple[Any, dict[str, Any]]:
    here = SingleDeviceSharding(device)
    model = registry.build(config.model)
    variables = variables_of(abstract_state(build_recipe(config)))
    patches = (config.inference.batch_size, *config.data.patch_size, model.in_channels)
    arguments = (variables, jax.ShapeDtypeStruct(patches, "f4"), jax.ShapeDtypeStruct((3,), bool))
    placed = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), arguments)
    return class_probabilities.lower(model, *placed), {"parts": {"variables": _bytes(variables)}}


def _volume(config: ConfigDict, device: jax.Device, volume: list[int]) -> dict[str, dict[str, int]]:
    """What happens to a whole volume around the network; see `inference.sliding_window`."""
    here = SingleDeviceSharding(device)
    depth, height, width = config.data.patch_size
    tiling = sliding_window.Tiling.of(
        volume,
        tuple(config.data.patch_size),
        overlap=config.inference.overlap,
        sigma_scale=config.inference.sigma_scale,
    )
    rows, columns = tiling.plane
    batch, classes = config.inference.batch_size, config.model.num_classes

    def array(dtype: Any, *shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=here)

    f4, i4 = jnp.float32, jnp.int32
    slab, corners = array(f4, depth, rows, columns, config.model.in_channels), array(i4, batch, 2)
    window = array(f4, depth, rows, columns, classes)
    probabilities = array(f4, batch, depth, height, width, classes)
    plane = array(f4, height, width)
    weights = (array(f4, batch), array(f4, depth), plane)
    lowered = {
        "cut": sliding_window._cut.lower(slab, corners, (height, width)),
        "add": sliding_window._add.lower(window, probabilities, corners, *weights),
        "advance": sliding_window._advance.lower(
            window, array(f4, depth), array(f4, rows, columns), array(i4)
        ),
    }
    return {name: memory_of(one.compile()) for name, one in lowered.items()}


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


if __name__ == "__main__":
    files.write_json(sys.argv[2], measure(files.read_json(sys.argv[1])))
