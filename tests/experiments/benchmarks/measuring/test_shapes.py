import ast
from pathlib import Path

import numpy as np

from configs import networks
from configs.base import base_config
from dsdenseunet.memory.description import describe
from dsdenseunet.ops import depthwise_choice
from experiments.benchmarks.measuring import inputs, shapes
from tests.documents import ROOT


def test_depthwise_shapes_are_the_networks():
    found = shapes.depthwise_cases(base_config().to_dict())
    layers = [shape for shape, _, stride in found if stride == (1, 1, 1)]
    assert layers == [(3, 56, 56, 128), (3, 28, 28, 128), (3, 14, 14, 128), (3, 7, 7, 128)]
    transitions = [shape for shape, _, stride in found if stride == (1, 2, 2)]
    assert transitions == [(3, 56, 56, 112), (3, 28, 28, 248), (3, 14, 14, 508)]


def test_decoder_shapes_are_the_networks():
    config = base_config()
    stages = {stage.name: stage.shape for stage in describe(config.model, config.data.patch_size).stages}
    found = shapes.decoder_cases(config.to_dict())
    assert [(*shape[:3], features) for shape, features, _ in found] == [stages[f"up{i}"] for i in range(1, 6)]
    assert [shape[3] for shape, _, _ in found] == [1660, 504, 224, 192, 96]


def test_depthwise_shapes_of_mednext_are_the_networks(monkeypatch):
    # One operation to trace in the place of 125.
    monkeypatch.setattr(depthwise_choice, "fastest", lambda *_: "grouped")
    config = networks.get_config("mednext_s_k5")
    config.data.patch_size = (64, 64, 32)
    cases = shapes.mednext_cases(config.to_dict())
    stages = {stage.name: stage for stage in describe(config.model, config.data.patch_size).stages}
    for level in range(4):
        same, halving, doubling = cases[3 * level : 3 * level + 3]
        assert same.shape == halving.shape == stages[f"encoder{level}"].shape
        assert doubling.shape == stages[f"down{level}"].shape
    assert {case.size for case in cases} == {5} and len(cases) == 12
    assert [case.in_words for case in cases[:3]] == [
        "64 x 64 x 32, 32, k5",
        "64 x 64 x 32, 32 by 2 x 2 x 2, k5",
        "32 x 32 x 16, 64 transposed by 2 x 2 x 2, k5",
    ]


def test_inputs_are_the_same_every_time():
    image, labels = inputs.network_inputs((4, 16, 16), 2, 1, 3)
    again, _ = inputs.network_inputs((4, 16, 16), 2, 1, 3)
    assert np.array_equal(image, again)
    assert (image.shape, labels.shape) == ((2, 4, 16, 16, 1), (2, 4, 16, 16))
    assert set(np.unique(labels)) == {0, 1, 2}
    assert image.dtype == np.float32
    assert np.abs(image).max() <= 1
    for transposed, sides in ((False, (2, 3, 2)), (True, (5, 11, 7))):
        *_, gradient = inputs.convolution_inputs(
            (3, 6, 4, 5), (3, 3, 3, 1, 5), (2, 2, 2), 5, transposed=transposed
        )
        assert gradient.shape == (1, *sides, 5)


def imports(path):
    nodes = list(ast.walk(ast.parse(path.read_text())))
    named = [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return set(named + [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names])


def test_neither_side_carries_the_other():
    """The memory of each side is its own; and nothing but the benchmark needs PyTorch."""
    own = "experiments.benchmarks.measuring"
    folder = Path(inputs.__file__).parent
    for name in (
        "torch_tasks",
        "torch_peer",
        "torch_mednext",
        "torch_unet",
        "inputs",
        "worker",
        "peak_memory",
    ):
        for module in imports(folder / f"{name}.py"):
            assert module.split(".")[0] not in ("jax", "flax", "ml_collections"), f"{name} imports {module}"
            ours = module.split(".")[0] in ("dsdenseunet", "experiments")
            assert not ours or f"{module}.".startswith(f"{own}."), f"{name} imports {module}"
    with_torch = {
        path.stem
        for package in ("dsdenseunet", "experiments", "configs")
        for path in (ROOT / package).rglob("*.py")
        if {module.split(".")[0] for module in imports(path)} & {"torch"}
    }
    # The last two are programs of another environment, which import nothing of ours.
    assert with_torch == {
        *("torch_peer", "torch_mednext", "torch_unet", "torch_tasks"),
        *("monai_unet", "nnunet"),
    }
