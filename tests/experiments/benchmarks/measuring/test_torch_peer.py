"""Ours and PyTorch's network agree on a small one. `make bench` runs this first: it needs the extra bench."""

import jax
import numpy as np
import pytest
from flax import traverse_util
from ml_collections import ConfigDict

from configs.demo import get_config
from dsdenseunet.training.recipe import build_recipe
from experiments.benchmarks.measuring import inputs, jax_tasks
from experiments.benchmarks.measuring.pairs import difference
from experiments.benchmarks.on_cpu import comparisons

pytestmark = pytest.mark.bench


@pytest.fixture(params=[True, False], ids=["ds", "standard"])
def config(request):
    config = get_config()
    config.model.separable = request.param
    config.model.block_layers = (2, 2)
    config.model.decoder_channels = (32, 24, 16)
    config.data.patch_size = (4, 64, 64)
    return config.to_dict()


@pytest.fixture
def weights(config, tmp_path):
    jax_tasks.write_weights(config["model"], tmp_path)
    return tmp_path


def network(config, weights, kind, layout="channels_last"):
    from experiments.benchmarks.measuring import torch_tasks

    return torch_tasks.Network(config, weights, layout, kind)


@pytest.mark.parametrize("layout", ["channels_last", "ncdhw"])
@pytest.mark.parametrize("kind", ["inference", "forward"])
def test_logits_and_loss_are_equal(config, weights, kind, layout):
    ours = jax_tasks.Forward(config, weights, train=kind == "forward").outputs()
    found = difference(ours, network(config, weights, kind, layout).outputs())
    assert max(found.values()) < comparisons.TOLERANCE, found


def test_every_gradient_is_equal(config, weights):
    theirs = network(config, weights, "step")
    theirs._loss(theirs._network(theirs._image)).backward()
    expected = {name: parameter.grad.numpy() for name, parameter in theirs._network.named_parameters()}

    resolved = ConfigDict(config)
    recipe, variables, batch = (
        build_recipe(resolved),
        jax_tasks.read_variables(weights),
        jax_tasks._batch(resolved),
    )

    def loss(params):
        outputs, _ = recipe.model.apply(
            {**variables, "params": params}, batch["image"], train=True, mutable=["batch_stats"]
        )
        return recipe.loss((outputs.logits,), batch["labels"])

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    by_layer = jax_tasks._by_layer(gradients, resolved.model.growth_rate)
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    assert len(expected) == len(traverse_util.flatten_dict(by_layer))
    for path, gradient in traverse_util.flatten_dict(by_layer).items():
        leaf = {"kernel": "weight", "scale": "weight"}.get(path[-1], path[-1])
        value = np.asarray(gradient)
        if path[-1] == "kernel":
            value = value.transpose(4, 3, 0, 1, 2)
        theirs_value = expected[".".join([*path[:-1], leaf])]
        # A bias in front of a normalisation has no gradient but rounding; a ReLU at zero may go either way.
        scale = max(np.abs(theirs_value).max(), 1e-2 * largest)
        assert np.abs(value - theirs_value).max() < 1e-2 * scale, path


def test_the_first_step_is_the_same(config, weights):
    ours, theirs = jax_tasks.Step(config, weights), network(config, weights, "step")
    for task in (ours, theirs):
        task.run()
    found = difference(ours.outputs(), theirs.outputs())
    assert found["loss"] < comparisons.TOLERANCE
    assert found["grad_norm"] < 1e-3


@pytest.mark.parametrize("form", ["auto", "conv3d"])
@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2)])
def test_convolutions_are_equal(form, stride):
    from experiments.benchmarks.measuring import torch_tasks

    shape, features = (4, 64, 64, 8), 8
    ours = jax_tasks.Convolution(shape, features, form, stride, backward=True).outputs()
    theirs = torch_tasks.Convolution(shape, features, form == "auto", stride, True, "ncdhw").outputs()
    assert max(difference(ours, theirs).values()) < 1e-4


def test_weights_that_do_not_fit_are_refused(config, weights):
    from experiments.benchmarks.measuring import torch_peer

    peer = torch_peer.DenseUNet3D(config["model"])
    arrays = inputs.read_weights(weights / "layers.npz")
    extra = {**arrays, "params/block2/layer03/norm1/scale": np.ones(1, np.float32)}
    with pytest.raises(ValueError, match=r"the network has no block2\.layer03\.norm1\.weight"):
        torch_peer.copy_weights(peer, extra)
    del arrays["params/head/conv/bias"]
    with pytest.raises(ValueError, match=r"no weights for \['head\.conv\.bias'\]"):
        torch_peer.copy_weights(peer, arrays)


def test_a_part_runs_and_is_noted(config, tmp_path):
    said = []
    setting = comparisons.Setting(config, 1, tmp_path, said.append)
    results = [result.as_json() for result in comparisons.inference(setting)]
    assert [result["case"] for result in results] == ["DS, 4 x 64 x 64", "standard, 4 x 64 x 64"]
    assert all(result["ratio"]["low"] > 0 and result["peak_gib"]["ours"] > 0 for result in results)
    assert len(said) == 4
    assert max(result["differences"]["ncdhw"]["logits"] for result in results) < comparisons.TOLERANCE
