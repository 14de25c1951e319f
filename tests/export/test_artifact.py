"""An exported network: the same labels without this project, and what its files say."""

import json
import os
import shutil
import subprocess
import sys

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.export import artifact, segmenter
from dsdenseunet.inference.predict import Predictor
from dsdenseunet.models import registry
from dsdenseunet.training import packed, provenance
from dsdenseunet.training.checkpoint import BestRecord, Checkpoints, load_best
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.state import create_state
from tests.training.tiny import TinyNet, get_config

LICENCE = "CC BY-SA 4.0"
# Of all images here.
SPACING_MM = (5.0, 0.8, 1.2)
# What a process that loads an exported network has no need of, and is kept from importing.
BLOCKED = ["dsdenseunet", "configs", "experiments", "tests", "flax", "nibabel", "grain", "orbax", "optax"]
BLOCKED += ["ml_collections", "absl", "safetensors"]
ALONE = """
import importlib.util, json, pathlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in json.loads(sys.argv[1]):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocked())
import numpy as np

for folder in map(pathlib.Path, sys.argv[2:]):
    spec = importlib.util.spec_from_file_location("load", folder / "exported" / "load.py")
    load = importlib.util.module_from_spec(spec)
    sys.modules["load"] = load
    spec.loader.exec_module(load)
    network = load.Segmenter(folder / "exported")
    for image in sorted(folder.glob("image-*.npy")):
        options = {"spacing_mm": (5.0, 0.8, 1.2)}
        np.save(folder / f"probabilities-{image.name}", network.probabilities(np.load(image), **options))
        np.save(folder / f"labels-{image.name}", network.labels(np.load(image), **options))
spacing = ["--spacing_mm", "5.0", "0.8", "1.2"]
load.main(folder / "exported", [str(image), str(folder / "labels-by-command.npy"), *spacing])
"""


def tiny(model_config):
    return TinyNet(in_channels=model_config["in_channels"])


def run_of(folder, config):
    """A run with random best weights."""
    checkpoints = Checkpoints(folder, "phase1", config)
    checkpoints.save_best(create_state(build_recipe(config), seed=1), BestRecord(3, 2, {"mean_dice": 0.5}))
    checkpoints.close()
    cases = {"training": ["volume-0", "volume-1"], "validation": ["volume-2"]}
    files.write_json(
        folder / provenance.PROVENANCE_FILE,
        {"starts": [{"config": {}, "data_sha256": "abc", "versions": {}, "hardware": {}, "cases": cases}]},
    )


def ct():
    """Hounsfield units; batches that have to be filled up, and mirrored averages."""
    config = get_config()
    config.inference.batch_size = 2
    config.inference.mirror_axes = (2,)
    return config


def mr():
    """Two channels, whose normalisations are of the case."""
    config = get_config()
    config.model.in_channels = 2
    config.task.channels = (("T1", "zscore_foreground"), ("T2", "percentiles", 1.0, 99.0))
    config.inference.overlap = 0.25
    config.inference.thresholds = (0.3, 0.35)
    return config


def thick():
    """A network that sees voxels of another spacing than the images', and turned patches."""
    config = ct()
    config.task.spacing_mm = (2.5, 1.0, 1.2)
    config.inference.mirror_axes = ()
    config.inference.rotation_degrees = 10.0
    return config


def images(channels):
    """A volume that is larger than a patch, and one that is smaller; their planes share programs."""
    rng = np.random.default_rng(0)
    shapes = [(7, 30, 45), (3, 20, 36)]
    drawn = [rng.integers(-300, 300, (*shape, channels)).astype(np.int16) for shape in shapes]
    return [image[..., 0] if channels == 1 else image for image in drawn]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """By name a folder with a run, its exported network, and volumes."""
    pytest.importorskip("flatbuffers", reason="jax.export writes with it: pip install '.[test]'")
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "build", tiny)
        for make in (ct, mr, thick):
            config, folder = make(), tmp_path_factory.mktemp(make.__name__)
            run_of(folder / "run", config)
            artifact.export(str(folder / "run"), str(folder / "exported"), data_licence=LICENCE)
            for number, image in enumerate(images(config.model.in_channels)):
                np.save(folder / f"image-{number}.npy", image)
            made[make.__name__] = folder
    return made


def test_a_process_that_cannot_import_this_project_gets_the_same_labels(folders, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ALONE, json.dumps(BLOCKED), *map(str, folders.values())],
        **{"cwd": tmp_path, "text": True, "capture_output": True, "check": False, "timeout": 200},
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    assert "0 background, 1 liver, 2 tumour" in done.stdout
    by_command, last = (
        np.load(folders["thick"] / f"labels-{name}.npy") for name in ("by-command", "image-1")
    )
    np.testing.assert_array_equal(by_command, last)
    for folder in folders.values():
        config, variables = load_best(folder / "run")
        predictor = Predictor.of(config, tiny(config.model), variables)
        for path in sorted(folder.glob("image-*.npy")):
            image = np.load(path)
            expected = predictor.network_labels(image, SPACING_MM)
            np.testing.assert_array_equal(np.load(folder / f"labels-{path.name}"), expected)
            found = np.load(folder / f"probabilities-{path.name}")
            slabs = [np.asarray(slab) for _, slab in predictor.probabilities(image, SPACING_MM)]
            np.testing.assert_array_equal(found, np.concatenate(slabs))
            assert len(np.unique(expected)) > 1


def test_statistics_of_the_case_may_be_given(folders):
    """A network that shows what it is given: the normalised values of its first channel."""
    network = segmenter.Segmenter(folders["mr"] / "exported")
    network._network = lambda weights, patches, flip: jnp.stack([patches[..., 0]] * 3, axis=-1)
    image, given = np.load(folders["mr"] / "image-0.npy"), [(3.0, 20.0), (-100.0, 100.0)]
    shown = network.probabilities(image, given)[..., 0]
    np.testing.assert_allclose(shown, (image[..., 0] - 3.0) / 20.0, atol=1e-4)
    assert np.abs(network.probabilities(image)[..., 0] - shown).max() > 1


def test_a_network_with_a_spacing_asks_for_the_image_s(folders):
    network = segmenter.Segmenter(folders["thick"] / "exported")
    image = np.load(folders["thick"] / "image-1.npy")
    with pytest.raises(ValueError, match="spacing_mm of the image must be given"):
        network.labels(image)
    assert (
        np.abs(
            network.probabilities(image, None, SPACING_MM)
            - network.probabilities(image, None, (2.5, 1.0, 1.2))
        ).max()
        > 1e-3
    )


def test_what_is_written(folders):
    folder = folders["ct"] / "exported"
    metadata = json.loads((folder / "metadata.json").read_text())
    assert {path.name for path in folder.iterdir()} == {"metadata.json", *metadata["files"]}
    for name, known in metadata["files"].items():
        assert known == {"bytes": (folder / name).stat().st_size, "sha256": files.sha256(folder / name)}
    config, _ = load_best(folders["ct"] / "run")
    assert metadata["task"]["classes"] == list(config.task.classes)
    assert metadata["inference"]["patch_size"] == list(config.data.patch_size)
    assert metadata["inference"]["mirror_axes"] == [2]
    assert metadata["best"] == {"phase": "phase1", "step": 3, "epoch": 2, "mean_dice": 0.5} | {
        name: value for name, value in metadata["best"].items() if name == "variables_sha256"
    }
    assert metadata["trained"]["cases"]["training"] == {"number": 2, "names": ["volume-0", "volume-1"]}
    assert metadata["licences"]["weights"] == LICENCE
    assert metadata["config"]["data"]["patch_size"] == list(config.data.patch_size)
    program = jax.export.deserialize(bytearray((folder / "network.stablehlo").read_bytes()))
    assert program.platforms == ("cpu", "cuda")


def test_the_weights_are_a_file_of_their_own_that_says_what_they_are(folders):
    folder = folders["ct"] / "exported"
    _, variables = load_best(folders["ct"] / "run")
    found = segmenter.read_weights(folder / "weights.safetensors")
    assert len(found) == len(jax.tree.leaves(variables))
    np.testing.assert_array_equal(found["params/Conv_0/kernel"], variables["params"]["Conv_0"]["kernel"])
    content = (folder / "weights.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    about = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["about"])
    assert about["licences"]["weights"] == LICENCE
    assert about["trained"]["cases"]["training"]["number"] == 2
    assert (8 + size) % 8 == 0
    # The file by itself is to this project what the run's folder is.
    for config, weights in (packed.load(folder / "weights.safetensors"), packed.load(folders["ct"] / "run")):
        assert config.to_dict() == load_best(folders["ct"] / "run")[0].to_dict()
        jax.tree.map(np.testing.assert_array_equal, weights, variables)


def test_a_file_of_weights_that_has_changed_or_is_none_is_refused(folders, tmp_path):
    whole = (folders["ct"] / "exported" / "weights.safetensors").read_bytes()
    path = tmp_path / "weights.safetensors"
    for content in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-8], whole[:100], b"", b"x" * 100):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"weights\.safetensors(.|\n)*or damaged ones"):
            packed.load(path)
    path.write_bytes(whole)
    with pytest.raises(InputError, match="weights of phase phase1"):
        packed.load(path, "phase2")


@pytest.mark.parametrize("name", ["weights.safetensors", "network.stablehlo"])
def test_a_file_that_has_changed_is_refused(folders, tmp_path, name):
    shutil.copytree(folders["ct"] / "exported", tmp_path / "copy")
    content = bytearray((tmp_path / "copy" / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / "copy" / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is not the file of metadata.json"):
        segmenter.Segmenter(tmp_path / "copy")


def test_a_network_that_says_no_number_ends_in_an_error(folders):
    network = segmenter.Segmenter(folders["ct"] / "exported")
    network._network = lambda weights, patches, flip: jnp.full((*patches.shape[:4], 3), jnp.nan)
    with pytest.raises(ArithmeticError, match="in slice 0 or soon after"):
        network.labels(np.zeros((4, 32, 32), np.int16))


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"workdir": "nowhere"}, "no such folder"),
        ({"workdir": "tests"}, "no best weights of any phase"),
        ({"platforms": ("cpu", "gpu")}, "names of cpu, cuda, rocm, tpu"),
        ({"platforms": ()}, "none"),
        ({"platforms": ("cpu", "cpu")}, "each once"),
        ({"out": "tests"}, "a folder with something in it"),
    ],
)
def test_bad_input_is_one_message_and_nothing_is_written(tmp_path, monkeypatch, options, part):
    monkeypatch.setattr(artifact, "check_installed", lambda: None)
    with pytest.raises(InputError, match=part):
        artifact.export(**{"workdir": "nowhere", "out": str(tmp_path / "out"), **options})
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_an_export_that_fails(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "build", tiny)
    monkeypatch.setattr(artifact.single_file, "source", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        artifact.export(str(folders["ct"] / "run"), str(tmp_path / "out"), platforms=("cpu",))
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(InputError, match="not installed"):
        artifact.check_installed()
