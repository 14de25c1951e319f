"""Half copied, cut off and changed checkpoints: one clear error or the right values, nothing in between."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from dsdenseunet.core.errors import InputError
from dsdenseunet.models import registry
from dsdenseunet.runtime import parallel
from dsdenseunet.training.checkpoint import BestRecord, Checkpoints, load_best
from dsdenseunet.training.integrity import array_digest, sealed, unsealed
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.state import abstract_state, create_state, state_arrays
from tests.training import tiny

RECORD = BestRecord(4, 2, {"liver_dice": 0.5, "tumour_dice": 0.25, "mean_dice": 0.375})
SEED = 7


class Batches:
    """In the place of the stream of batches, of which a checkpoint keeps the position."""

    def __init__(self, position: int = 0):
        self.position = position

    def get_state(self) -> dict[str, int]:
        return {"next_batch": self.position}

    def set_state(self, state: dict[str, int]) -> None:
        self.position = state["next_batch"]


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "build", tiny.build_tiny)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which both phases have best weights and phase 2 a whole state too."""
    folder = tmp_path_factory.mktemp("saved")
    config = tiny.get_config()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "build", tiny.build_tiny)
        for number, phase in enumerate(("phase1", "phase2"), 1):
            state = create_state(build_recipe(config), SEED + number).replace(step=np.int32(4))
            checkpoints = Checkpoints(folder, phase, config)
            checkpoints.save_best(state, RECORD)
            if phase == "phase2":
                checkpoints.save(state, Batches(5), validated_step=4)
            checkpoints.close()
    return folder


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(content: bytes) -> bytes:
    return b""


def changed_in_the_middle(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 0x11
    return bytes(changed)


def garbled(content: bytes) -> bytes:
    return np.random.default_rng(len(content)).bytes(len(content))


DAMAGES = (None, cut_off, emptied, changed_in_the_middle, garbled)


def damaged_copies(saved: Path, part: str, folder: Path):
    """For every file and folder of a part, and every damage, a copy that has it."""
    for path in sorted((saved / part).rglob("*")):
        for damage in DAMAGES if path.is_file() else DAMAGES[:1]:
            copy = folder / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(saved, copy)
            target = copy / path.relative_to(saved)
            if damage is not None:
                target.write_bytes(damage(path.read_bytes()))
            elif path.is_file():
                target.unlink()
            else:
                shutil.rmtree(target)
            yield f"{path.relative_to(saved)} {damage and damage.__name__}", copy


def assert_refused_or_right(
    read: Callable[[Path], object], saved: Path, part: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> set[str]:
    """What was refused."""
    expected = read(saved)
    refused = set()
    for what, copy in damaged_copies(saved, part, tmp_path):
        try:
            np.testing.assert_equal(read(copy), expected, err_msg=what)
        except InputError as error:
            refused.add(what)
            assert str(error).count("\n") == 3, what
            assert error.where.startswith(str(copy)), what
            assert "copy the" in error.fix or "restore the folder" in error.fix, what
            assert "--config." not in str(error), what
    assert "Traceback" not in capfd.readouterr().err
    return refused


def best(workdir: Path) -> object:
    config, variables = load_best(workdir)
    return config.to_dict(), variables


def best_scores(workdir: Path) -> object:
    checkpoints = Checkpoints(workdir, "phase2", tiny.get_config())
    try:
        return checkpoints.best_record()
    finally:
        checkpoints.close()


def latest(workdir: Path) -> object:
    recipe = build_recipe(tiny.get_config())
    checkpoints, batches = Checkpoints(workdir, "phase2", tiny.get_config()), Batches()
    try:
        if checkpoints.latest_step is None:
            raise InputError(workdir, found="nothing", expected="a state", fix="copy the folder")
        state, validated = checkpoints.restore(abstract_state(recipe), batches, parallel.data_mesh())
    finally:
        checkpoints.close()
    return jax.tree.map(np.asarray, state_arrays(state)), validated, batches.position


@pytest.mark.filterwarnings("ignore")  # Orbax warns of what it finds missing before it raises.
def test_damaged_best_weights(saved: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    refused = assert_refused_or_right(best, saved, "phase2/best", tmp_path, capfd)
    for item in ("config", "record"):
        for damage in DAMAGES:
            assert f"phase2/best/4/{item}/metadata {damage and damage.__name__}" in refused
    assert {f"phase2/best/4{item} None" for item in ("", "/config", "/record", "/variables")} <= refused


@pytest.mark.filterwarnings("ignore")
def test_damaged_scores_of_the_best_weights(saved: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    folder = saved / "phase2" / "best" / "4" / "record"
    refused = assert_refused_or_right(best_scores, saved, str(folder.relative_to(saved)), tmp_path, capfd)
    assert len(refused) >= len(DAMAGES)


@pytest.mark.filterwarnings("ignore")
def test_damaged_whole_state(saved: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    refused = assert_refused_or_right(latest, saved, "phase2/latest", tmp_path, capfd)
    assert {f"phase2/latest/4/{item} None" for item in ("state", "data", "progress")} <= refused


def test_sound_files_of_other_weights_are_known_by_the_digest(saved: Path, tmp_path: Path):
    """Also how a changed bit inside a file of arrays shows, which the file's format does not notice."""
    copy = Path(shutil.copytree(saved, tmp_path / "copy"))
    shutil.rmtree(copy / "phase2" / "best" / "4" / "variables")
    shutil.copytree(
        saved / "phase1" / "best" / "4" / "variables", copy / "phase2" / "best" / "4" / "variables"
    )
    load_best(copy, "phase1")
    with pytest.raises(InputError, match="not those that were written"):
        load_best(copy, "phase2")


def test_best_weights_left_out_are_not_replaced_by_phase_one(saved: Path, tmp_path: Path):
    copy = Path(shutil.copytree(saved, tmp_path / "copy"))
    shutil.rmtree(copy / "phase2" / "best")
    with pytest.raises(InputError, match="phase2 was validated at step 4"):
        load_best(copy)
    # Asked for by name, or where phase 2 has not been validated, phase 1's are meant.
    shutil.rmtree(copy / "phase2")
    np.testing.assert_equal(load_best(copy)[1], load_best(saved, "phase1")[1])


def test_runs_of_versions_without_digests_are_read(saved: Path, tmp_path: Path):
    copy = Path(shutil.copytree(saved, tmp_path / "copy"))
    for path in copy.rglob("metadata"):
        values = json.loads(path.read_text())
        for name in ("sha256", "variables_sha256", "state_sha256"):
            values.pop(name, None)
        path.write_text(json.dumps(values))
    np.testing.assert_equal(best(copy), best(saved))
    np.testing.assert_equal(latest(copy), latest(saved))


def test_seal():
    values = {"step": 4, "share": 0.1, "names": ["a"], "nested": {"x": None}}
    assert unsealed(json.loads(json.dumps(sealed(values)))) == values
    assert unsealed(values) == values
    with pytest.raises(ValueError, match="not those that were written"):
        unsealed({**sealed(values), "step": 5})
    with pytest.raises(ValueError, match="list"):
        unsealed([])


@pytest.mark.parametrize(
    "other",
    [
        {"a": np.zeros(3), "b": np.ones(2)},
        {"a": np.zeros(2), "c": np.ones(2)},
        {"a": np.zeros((2, 1)), "b": np.ones(2)},
        {"a": np.zeros(2, np.int64), "b": np.ones(2)},
        {"a": np.array([0.0, -0.0]), "b": np.ones(2)},
    ],
)
def test_digest_sees_names_shapes_types_and_bits(other: dict[str, np.ndarray]):
    arrays = {"a": np.zeros(2), "b": np.ones(2)}
    assert array_digest(arrays) == array_digest(dict(reversed(arrays.items())))
    assert array_digest(arrays) != array_digest(other)


def test_config_of_the_best_weights_is_checked(saved: Path, tmp_path: Path):
    copy = Path(shutil.copytree(saved, tmp_path / "copy"))
    config = ConfigDict(tiny.get_config())
    config.data.batch_size = 0
    checkpoints = Checkpoints(copy, "phase1", config)
    checkpoints.save_best(
        create_state(build_recipe(tiny.get_config()), SEED), BestRecord(5, 2, {"mean_dice": 0.5})
    )
    checkpoints.close()
    with pytest.raises(InputError, match=r"config\.data\.batch_size = 0") as error:
        load_best(copy, "phase1")
    assert "--config." not in str(error.value)
