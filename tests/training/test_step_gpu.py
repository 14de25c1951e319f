"""The training step on the GPU that is here against the CPU's: `make test-gpu`."""

from pathlib import Path

import jax
import numpy as np
import pytest

from configs.demo import get_config
from dsdenseunet.ops import depthwise_choice
from dsdenseunet.runtime import parallel
from dsdenseunet.training.step import train_step
from experiments.benchmarks.measuring import jax_tasks
from experiments.benchmarks.measuring.inputs import network_inputs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(jax.default_backend() != "gpu", reason="without a GPU"),
]


@pytest.fixture(params=["ds", "standard"])
def config(request, tmp_path):
    config = get_config()
    config.model.separable = request.param == "ds"
    config.model.block_layers = (2, 2)
    config.model.decoder_channels = (32, 24, 16)
    config.data.patch_size = (4, 64, 64)
    jax_tasks.write_weights(config.model, tmp_path)
    config.data.cache = str(tmp_path)
    return config


def steps(config, devices, count):
    mesh = parallel.data_mesh(devices)
    data = config.data
    image, labels = network_inputs(data.patch_size, data.batch_size, 1, config.model.num_classes)
    state = jax_tasks.first_state(config, jax_tasks.read_variables(Path(data.cache)))
    state, batch = (
        parallel.place_state(mesh, state),
        parallel.place_batch(mesh, {"image": image, "labels": labels}),
    )
    seen = []
    for _ in range(count):
        state, metrics = parallel.compile_step(train_step, mesh)(state, batch)
        seen.append({name: float(metrics[name]) for name in ("loss", "grad_norm")})
    return seen, jax.device_get(state.params)


@pytest.mark.parametrize("form", ["shifted", "pallas"])
def test_two_steps_are_those_of_the_cpu(config, form, monkeypatch):
    jax.clear_caches()
    with jax.default_matmul_precision("float32"):
        expected, expected_params = steps(config, jax.devices("cpu")[:1], 2)
        jax.clear_caches()
        monkeypatch.setattr(depthwise_choice, "fastest", lambda *_: form)
        got, params = steps(config, jax.devices()[:1], 2)
    for a, b in zip(got, expected, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-2)
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(expected_params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-3)


def test_bfloat16_learns_what_float32_does(config):
    exact, _ = steps(config, jax.devices()[:1], 5)
    config.model.dtype = "bfloat16"
    rounded, _ = steps(config, jax.devices()[:1], 5)
    for a, b in zip(rounded, exact, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=5e-2)


def test_memory_is_counted_and_does_not_grow_from_step_to_step(config):
    device = jax.devices()[0]
    steps(config, [device], 2)
    before = device.memory_stats()["bytes_in_use"]
    assert device.memory_stats()["peak_bytes_in_use"] >= before > 0
    steps(config, [device], 6)
    assert device.memory_stats()["bytes_in_use"] <= before + 2**20
