"""What is timed of ours: the training step, the forward pass, compiling."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from dsdenseunet.core import files
from dsdenseunet.losses import combine
from dsdenseunet.models import registry
from dsdenseunet.ops import depthwise_choice
from dsdenseunet.runtime import parallel
from dsdenseunet.runtime.compilation import use_compilation_cache
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.state import TrainState
from dsdenseunet.training.step import train_step
from experiments.benchmarks.measuring.inputs import network_inputs, read_weights
from experiments.benchmarks.measuring.peer_weights import for_peer


def write_weights(model_config: Mapping[str, Any], folder: Path) -> None:
    """Writes the network's first variables, every scale, bias and statistic moved, so that a swap shows.

    `variables.npz` holds them as the Flax network does, `peer.npz` as its peer in PyTorch does.
    """
    model = registry.build(model_config)
    generator = np.random.default_rng(1)
    arrays = {}
    for name, array in traverse_util.flatten_dict(model.first_values(), sep="/").items():
        leaf = name.rsplit("/", 1)[1]
        noise = generator.standard_normal(array.shape, np.float32) * np.float32(0.1)
        arrays[name] = array if leaf == "kernel" else array + (np.abs(noise) if leaf == "var" else noise)
    _write_arrays(folder / "variables.npz", arrays)
    variables = traverse_util.unflatten_dict(arrays, sep="/")
    of_peer = {name: for_peer(tree, model_config) for name, tree in variables.items()}
    _write_arrays(folder / "peer.npz", traverse_util.flatten_dict(of_peer, sep="/"))


def _write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    with files.atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


class Weights:
    """Writes them when it is made, so that a process of its own can."""

    def __init__(self, model_config: Mapping[str, Any], folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        write_weights(model_config, folder)

    def run(self) -> None:
        """Nothing is left to do."""

    def outputs(self) -> dict[str, np.ndarray]:
        """Nothing to compare."""
        return {}


def read_variables(weights: Path) -> dict[str, Any]:
    """The variables in a folder that `write_weights` wrote to."""
    return traverse_util.unflatten_dict(read_weights(weights / "variables.npz"), sep="/")


def _batch(config: ConfigDict) -> dict[str, np.ndarray]:
    data, model = config.data, config.model
    image, labels = network_inputs(data.patch_size, data.batch_size, model.in_channels, model.num_classes)
    return {"image": image, "labels": labels}


def use_form(form: str) -> None:
    """From now on this process computes depthwise convolutions in this form, on the device that it has."""
    device = depthwise_choice.Device.present()
    major = None if device.capability is None else device.capability[0]
    for dtype, stride in itertools.product(("float32", "bfloat16"), ((1, 1, 1), (1, 2, 2))):
        depthwise_choice.FASTEST[depthwise_choice.Kind(device.platform, major, dtype, stride)] = ((0, form),)


def first_state(config: ConfigDict, variables: Mapping[str, Any]) -> TrainState:
    """The state before the first step, with these variables; nothing is drawn."""
    recipe = build_recipe(config)
    opt_state = jax.eval_shape(recipe.optimizer.init, variables["params"])
    return TrainState(
        params=variables["params"],
        batch_stats=variables.get("batch_stats", {}),
        opt_state=jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), opt_state),
        step=jnp.zeros((), jnp.int32),
        key=jnp.zeros(2, jnp.uint32),
        healthy=jnp.ones((), jnp.bool_),
        recipe=recipe,
    )


class Step:
    """The training step as `experiments.train` runs it, on one patch.

    Args:
        config: a resolved config as plain values.
        weights: folder that `write_weights` wrote to.
        form: of all depthwise convolutions, in place of what is chosen; for the rest of the process.
        metrics_of_step: of which step since the start the outputs are.
    """

    def __init__(
        self, config: Mapping[str, Any], weights: Path, form: str | None = None, metrics_of_step: int = 1
    ):
        use_compilation_cache()
        if form:
            use_form(form)
        resolved = ConfigDict(config)
        mesh = parallel.data_mesh()
        self._state = parallel.place_state(mesh, first_state(resolved, read_variables(weights)))
        self._batch = parallel.place_batch(mesh, _batch(resolved))
        self._step = parallel.compile_step(train_step, mesh)
        self._metrics_of_step, self._steps_done = metrics_of_step, 0
        self._metrics: dict[str, np.ndarray] = {}

    def run(self) -> None:
        """One step."""
        self._state, metrics = self._step(self._state, self._batch)
        jax.block_until_ready((self._state, metrics))
        self._steps_done += 1
        if self._steps_done == self._metrics_of_step:
            self._metrics = {name: np.asarray(metrics[name]) for name in ("loss", "grad_norm")}

    def outputs(self) -> dict[str, np.ndarray]:
        """Loss and gradient norm of one step; `device_peak_gib` where the device counts."""
        return {**self._metrics, **device_peak()}


class Forward:
    """A forward pass on one patch, with running statistics or, where `train`, with the batch's."""

    def __init__(self, config: Mapping[str, Any], weights: Path, train: bool):
        use_compilation_cache()
        resolved = ConfigDict(config)
        self._config = resolved
        self._variables = jax.device_put(read_variables(weights))
        batch = _batch(resolved)
        self._image = jax.device_put(batch["image"])
        self._labels = batch["labels"]
        model = registry.build(resolved.model)

        def apply(variables: Any, image_BDHWC: jax.Array) -> Any:
            if train:
                return model.apply(variables, image_BDHWC, train=True, mutable=["batch_stats"])
            return model.apply(variables, image_BDHWC, train=False), {}

        self._apply = jax.jit(apply)

    def run(self) -> None:
        """One pass."""
        jax.block_until_ready(self._apply(self._variables, self._image))

    def outputs(self) -> dict[str, np.ndarray]:
        """Logits and loss."""
        outputs, _ = self._apply(self._variables, self._image)
        logits = outputs.logits
        loss = combine.build(self._config.loss, self._config.task.ignore_label)
        value = loss((logits,), jnp.asarray(self._labels))
        return {"logits": np.asarray(logits), "loss": np.asarray(value), **device_peak()}


def device_peak() -> dict[str, np.ndarray]:
    """`device_peak_gib`: most memory in use at once on the first device; nothing where it doesn't count."""
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return {} if peak is None else {"device_peak_gib": np.asarray(peak / 2**30)}


class Compilation:
    """The training step of a fresh process: traced and compiled once, when it is made.

    Where the compiled program comes from a cache is up to $JAX_COMPILATION_CACHE_DIR.
    """

    def __init__(self, config: Mapping[str, Any], weights: Path):
        use_compilation_cache()
        resolved = ConfigDict(config)
        mesh = parallel.data_mesh()
        state = parallel.place_state(mesh, first_state(resolved, read_variables(weights)))
        batch = parallel.place_batch(mesh, _batch(resolved))
        step: Any = parallel.compile_step(train_step, mesh)
        clock = _Clock()
        traced = step.trace(state, batch)
        clock.stop("trace")
        lowered = traced.lower()
        clock.stop("lower")
        lowered.compile()
        clock.stop("compile")
        self._seconds = clock.seconds

    def run(self) -> None:
        """Nothing is left to do."""

    def outputs(self) -> dict[str, np.ndarray]:
        """(wall, processor) seconds of `trace`, `lower`, `compile` (or reading from the cache)."""
        return {name: np.asarray(pair) for name, pair in self._seconds.items()}


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, tuple[float, float]] = {}
        self._last = time.perf_counter(), time.process_time()

    def stop(self, name: str) -> None:
        now = time.perf_counter(), time.process_time()
        self.seconds[name] = now[0] - self._last[0], now[1] - self._last[1]
        self._last = now
