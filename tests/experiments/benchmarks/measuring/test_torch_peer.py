"""Ours and PyTorch's network agree on a small one. `make bench` runs this first: it needs the extra bench."""

import functools

import jax
import numpy as np
import pytest
from flax import traverse_util
from ml_collections import ConfigDict

from configs import networks
from configs.demo import get_config
from dsdenseunet.training.recipe import build_recipe
from experiments.benchmarks.measuring import inputs, jax_convolutions, jax_tasks
from experiments.benchmarks.measuring.pairs import difference
from experiments.benchmarks.measuring.peer_weights import for_peer
from experiments.benchmarks.on_cpu import comparisons, mednext_parts, mednext_setting
from experiments.benchmarks.publishing import mednext_tables

pytestmark = pytest.mark.bench


def dense(separable):
    config = get_config()
    config.model.separable = separable
    config.model.block_layers = (2, 2)
    config.model.decoder_channels = (32, 24, 16)
    config.data.patch_size = (4, 64, 64)
    return config.to_dict()


def small(name, **model):
    """Of configs/networks.py, with two levels and fields of its own."""
    config = networks.get_config(name)
    config.model.update(model)
    config.data.patch_size = (8, 16, 12)
    return config.to_dict()


def mednext(kernel):
    sizes = {"width": 4, "blocks": (1, 2, 1, 2, 1), "expansion": (2, 3, 4, 3, 2)}
    return small(f"mednext_s_k{kernel}", **sizes)


def unet():
    return small("unet", widths=(8, 12, 16), encoder_convs=(2, 1, 2), decoder_convs=(2, 1))


CONFIGS = {
    "ds": functools.partial(dense, True),
    "standard": functools.partial(dense, False),
    "mednext k3": functools.partial(mednext, 3),
    "mednext k5": functools.partial(mednext, 5),
    "unet": unet,
}


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]()


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
    by_module = for_peer(jax.tree.map(np.asarray, gradients), config["model"])
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    assert len(expected) == len(traverse_util.flatten_dict(by_module))
    for path, gradient in traverse_util.flatten_dict(by_module).items():
        leaf = {"kernel": "weight", "scale": "weight"}.get(path[-1], path[-1])
        value, theirs_value = np.asarray(gradient), expected[".".join([*path[:-1], leaf])]
        if path[-1] == "kernel":
            module = theirs._network.get_submodule(".".join(path[:-1]))
            swapped = type(module).__name__ == "ConvTranspose3d" and module.groups == 1
            value = value.transpose(3, 4, 0, 1, 2) if swapped else value.transpose(4, 3, 0, 1, 2)
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
    ours = jax_convolutions.Convolution(shape, features, form, stride, backward=True).outputs()
    theirs = torch_tasks.Convolution(shape, features, form == "auto", stride, True, "ncdhw").outputs()
    assert max(difference(ours, theirs).values()) < 1e-4


@pytest.mark.parametrize(("size", "stride"), [(3, (1, 1, 1)), (5, (1, 1, 1)), (5, (2, 2, 2))])
def test_depthwise_convolutions_and_their_transposes_are_equal(size, stride):
    from experiments.benchmarks.measuring import torch_tasks

    shape, features = (4, 6, 5, 8), 8
    for transposed in (False, True):
        own, more = (stride, True), {"size": size, "transposed": transposed}
        theirs = torch_tasks.Convolution(shape, features, True, *own, "channels_last", **more).outputs()
        for form in ("auto", "grouped"):
            ours = jax_convolutions.Convolution(shape, features, form, *own, **more).outputs()
            assert max(difference(ours, theirs).values()) < 1e-4, (form, transposed)


@pytest.mark.parametrize("config", ["ds"], indirect=True)
def test_weights_that_do_not_fit_are_refused(config, weights):
    from experiments.benchmarks.measuring import torch_peer

    peer = torch_peer.DenseUNet3D(config["model"])
    arrays = inputs.read_weights(weights / "peer.npz")
    extra = {**arrays, "params/block2/layer03/norm1/scale": np.ones(1, np.float32)}
    with pytest.raises(ValueError, match=r"the network has no block2\.layer03\.norm1\.weight"):
        torch_peer.copy_weights(peer, extra)
    del arrays["params/head/conv/bias"]
    with pytest.raises(ValueError, match=r"no weights for \['head\.conv\.bias'\]"):
        torch_peer.copy_weights(peer, arrays)


def test_all_of_mednext_is_measured(tmp_path):
    said, saved = [], []
    model = {"mednext": {"width": 4, "blocks": (1, 1, 1), "expansion": (2, 2, 2)}}
    model["unet"] = {"widths": (4, 8), "encoder_convs": (1, 1), "decoder_convs": (1,)}
    setting = mednext_setting.Setting((3,), ((1, 32, 32, 32),), (1,), 1, tmp_path, said.append, model)
    mednext_parts.run(setting, list(mednext_parts.PARTS), saved.append)
    results = saved[-1]["results"]
    for part in ("inference", "step"):
        own, unet = (result for result in results if result["part"] == part)
        assert own["case"] == unet["case"] == "k3, 1 x 32 x 32 x 32, 1 core"
        assert own["against"] in comparisons.LAYOUTS and unet["against"].startswith("U-Net, ")
        assert own["roofline"]["times_the_floor"] > 1 and own["peak_gib"]["ours"] > 0
        assert max(max(found.values()) for found in own["differences"].values()) < 1e-3
    convolutions = [result for result in results if result["part"] == "depthwise"]
    # One level: same, halving and doubling, both passes, beside PyTorch and beside XLA.
    assert len(convolutions) == 3 * 2 * 2
    assert [result["against"] for result in convolutions].count("grouped") == 6
    assert len(saved[-1]["targets"]) == 7
    for block in (mednext_tables.networks, mednext_tables.convolutions):
        assert "float32, 1 rounds" in block(saved[-1])


@pytest.mark.parametrize("config", ["ds"], indirect=True)
def test_a_part_runs_and_is_noted(config, tmp_path):
    said = []
    setting = comparisons.Setting(config, 1, tmp_path, said.append)
    results = [result.as_json() for result in comparisons.inference(setting)]
    assert [result["case"] for result in results] == ["DS, 4 x 64 x 64", "standard, 4 x 64 x 64"]
    assert all(result["ratio"]["low"] > 0 and result["peak_gib"]["ours"] > 0 for result in results)
    assert len(said) == 4
    assert max(result["differences"]["ncdhw"]["logits"] for result in results) < comparisons.TOLERANCE
