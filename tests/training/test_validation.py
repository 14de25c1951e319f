"""Validation spreads its cases over all devices; whatever their number, the scores are the same bits."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from dsdenseunet.data.cache import Cache
from dsdenseunet.data.splits import strata
from dsdenseunet.evaluation import region_summary
from dsdenseunet.evaluation.overlap import count, dice
from dsdenseunet.evaluation.regions import score_task
from dsdenseunet.inference.predict import Predictor
from dsdenseunet.models import registry
from dsdenseunet.runtime import parallel
from dsdenseunet.tasks.lits import TASK
from dsdenseunet.training.checkpoint import BestRecord, Checkpoints
from dsdenseunet.training.failure import NonFiniteLossError
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.state import TrainState, create_state, variables_of
from dsdenseunet.training.validation import chosen_cases, fixed_patches, validate, validate_volumes
from tests.training import tiny
from tests.training.test_logs import read_lines
from tests.training.test_parallel import EIGHT, start_processes

# Eleven cases (names may come again): two rounds on eight devices, the second not full.
SCRIPT = """
import json, sys
from pathlib import Path
from dsdenseunet.runtime import parallel
from tests.training import tiny
from dsdenseunet.models import registry
registry.build = tiny.build_tiny
from dsdenseunet.data.cache import Cache
from dsdenseunet.inference.predict import class_probabilities
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.state import create_state
from dsdenseunet.training.validation import validate

config = tiny.get_config()
config.training.validate_patches = int(sys.argv[2])
config.training.validate_cases = 0
mesh = parallel.data_mesh()
state = parallel.place_state(mesh, create_state(build_recipe(config), 5))
cache = Cache.open(sys.argv[1])
names = [cache.names[index % 3] for index in range(11)]
asked = []
scores = validate(config, state, cache, names, lambda: bool(asked.append(1)))
assert validate(config, state, cache, names, lambda: True) is None
print(json.dumps([scores, len(asked), class_probabilities._cache_size()]))
"""


def scores(cache: Path, patches: int = 0, **environment: str) -> tuple[dict[str, float], int, int]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(cache), str(patches)],
        **{"cwd": tiny.ROOT, "capture_output": True, "text": True, "check": False},
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    values, rounds, programs = json.loads(done.stdout)
    return values, rounds, programs


def dice_of_regions(predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {region.name: dice(count(region.mask(predicted), region.mask(labels))) for region in TASK.regions}


def test_eight_devices_give_the_bits_of_one(cache: Path):
    one, rounds, programs = scores(cache)
    assert (rounds, programs) == (11, 1)
    eight, rounds, programs = scores(cache, **EIGHT)
    assert (rounds, programs) == (2, 8), "every device has had a case"
    assert eight == one
    assert 0 < one["liver_dice"] < 1


def test_eight_devices_give_the_bits_of_one_on_patches(cache: Path):
    one, rounds, programs = scores(cache, patches=9)
    assert (rounds, programs) == (9, 1)
    eight, rounds, programs = scores(cache, patches=9, **EIGHT)
    assert (rounds, programs) == (2, 8)
    assert eight == one
    assert 0 < one["liver_dice"] < 1


@pytest.fixture
def validating(cache: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ConfigDict, TrainState, Cache]:
    monkeypatch.setattr(registry, "build", tiny.build_tiny)
    config = tiny.get_config()
    return config, create_state(build_recipe(config), 5), Cache.open(cache)


def test_patches_follow_from_seed_and_names_alone(validating):
    config, _, cache = validating
    config.training.validate_patches = 8
    patches = fixed_patches(config, cache, cache.names)
    assert fixed_patches(config, cache, cache.names[::-1]) == patches
    # Each case as often as another, or once more; other cases of the fold change none of a case's own.
    assert sorted(Counter(patch.name for patch in patches).values()) == [2, 3, 3]
    config.training.validate_patches = 3
    alone = [patch for name in cache.names for patch in fixed_patches(config, cache, [name])]
    patches = fixed_patches(config, cache, cache.names)
    assert len(patches) == 3
    assert all(patch in alone for patch in patches)
    config.seed = 1
    assert any(patch not in alone for patch in fixed_patches(config, cache, cache.names))


def test_patches_lie_inside_their_case_and_are_whole(validating):
    config, _, cache = validating
    config.training.validate_patches = 60
    config.data.patch_size = (64, 16, 8)  # Deeper than every case.
    for patch in fixed_patches(config, cache, cache.names):
        shape = cache.case(patch.name).labels_DHW.shape
        assert patch.box[0] == slice(0, shape[0])
        for part, size, side in zip(patch.box[1:], shape[1:], (16, 8)):
            assert part.start >= 0
            assert part.stop <= size
            assert part.stop - part.start == side


def test_patches_are_centred_as_training_s_are(validating):
    config, _, cache = validating
    config.training.validate_patches = 20
    config.data.centre_share = (0.0, 0.0, 1.0)
    names = [name for name, tumour in strata(TASK, cache, cache.names).items() if tumour]
    for patch in fixed_patches(config, cache, names):
        assert (cache.case(patch.name).labels_DHW[patch.box] == 2).any()


def test_dice_of_patches_is_of_voxels_counted_over_all_of_them(validating):
    """By hand: the network's labels of each patch, put end to end."""
    config, state, cache = validating
    config.training.validate_patches = 5
    config.task.clean_up = (("largest", "liver"),)
    found = validate(config, state, cache, cache.names, lambda: False)
    predictor = Predictor.of(config, state.recipe.model, variables_of(state))
    predicted, labels = [], []
    for patch in fixed_patches(config, cache, cache.names):
        case = cache.case(patch.name)
        predicted.append(predictor.network_labels(case.image_DHW[patch.box]).ravel())
        labels.append(np.asarray(case.labels_DHW[patch.box]).ravel())
    expected = dice_of_regions(np.concatenate(predicted), np.concatenate(labels))
    assert found is not None
    assert (found["liver_dice"], found["tumour_dice"]) == (expected["liver"], expected["tumour"])
    assert found["mean_dice"] == (expected["liver"] + expected["tumour"]) / 2


def test_whole_cases_are_a_seeded_few_and_count_alike(validating):
    config, state, cache = validating
    config.training.validate_cases = 2
    chosen = chosen_cases(config, cache, cache.names)
    assert len(chosen) == 2
    assert chosen_cases(config, cache, cache.names[::-1]) == chosen
    seeds = set()
    for seed in range(20):
        config.seed = seed
        seeds.add(chosen_cases(config, cache, cache.names))
    assert len(seeds) > 1, "not the lowest file names"
    config.seed = 0
    variables = variables_of(state)
    found = validate_volumes(config, state.recipe.model, variables, cache, cache.names, lambda: False)
    predictor = Predictor.of(config, state.recipe.model, variables)
    each = [
        dice_of_regions(predictor.segment(case.image_DHW), np.asarray(case.labels_DHW))
        for case in map(cache.case, chosen)
    ]
    assert found is not None
    assert found["liver_dice"] == np.mean([one["liver"] for one in each])
    assert found["tumour_dice"] == np.mean([one["tumour"] for one in each])


def test_weights_are_chosen_by_the_scores_that_the_task_names(validating, tmp_path: Path):
    """By hand: every case segmented, scored as evaluation does, and the set's scores."""
    config, state, cache = validating
    named = ("liver", "tumour_sensitivity_at_8fp", "liver_surface_dice_3mm")
    config.task.select_by = named
    config.training.validate_patches = config.training.validate_cases = 0
    found = validate(config, state, cache, cache.names, lambda: False)
    assert found is not None
    predictor = Predictor.of(config, state.recipe.model, variables_of(state))
    scored = [
        score_task(predictor.segment(case.image_DHW), np.asarray(case.labels_DHW), case.spacing_mm, TASK)
        for case in map(cache.case, cache.names)
    ]
    expected = region_summary.set_scores(scored, TASK)
    values = [expected["liver_dice"], *(expected[name] for name in named[1:])]
    assert [found["liver_dice"], *(found[name] for name in named[1:])] == values
    assert found["selection"] == pytest.approx(np.mean(values))
    assert 0 < found["liver_surface_dice_3mm"] < 1
    assert found["mean_dice"] == pytest.approx((expected["liver_dice"] + expected["tumour_dice"]) / 2)
    checkpoints = Checkpoints(tmp_path, "phase1", config)
    checkpoints.save_best(state, BestRecord(1, 1, found))
    record = checkpoints.best_record()
    checkpoints.close()
    assert record is not None and dict(record.scores) == found
    assert record.selection == found["selection"]


def test_two_processes_of_two_devices_validate_as_one(cache: Path, tmp_path: Path):
    """A run's validations: only training itself may differ, by sums in another order."""
    arguments = (
        "--config.training.phase=phase1",
        "--config.data.batch_size=4",
        '--config.data.explicit.train=("volume-0",)',
        '--config.data.explicit.validation=("volume-1","volume-2")',
    )
    flags = tiny.devices(2)
    processes = start_processes(tiny.command(cache, tmp_path / "two", *arguments), 2, **flags)
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    tiny.run(tiny.command(cache, tmp_path / "one", *arguments))
    two, one = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("two", "one")
    )
    found, expected = ([line["validation"] for line in lines if "validation" in line] for lines in (two, one))
    assert len(expected) == 2
    for got, wanted in zip(found, expected, strict=True):
        assert got == pytest.approx(wanted, abs=1e-3)


def test_a_single_process_sums_over_itself():
    values = np.array([[0.1, 0.2]])
    np.testing.assert_array_equal(parallel.sum_over_processes(values), values)
    assert [place for place, _ in parallel.own_devices()] == list(range(parallel.device_count()))


def test_a_network_that_says_no_number_ends_the_run_and_names_the_case(
    cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(registry, "build", tiny.build_tiny)
    config = tiny.get_config()
    state = parallel.place_state(parallel.data_mesh(), create_state(build_recipe(config), 5))
    state = state.replace(batch_stats=jax.tree.map(lambda leaf: leaf * np.nan, state.batch_stats))
    with pytest.raises(NonFiniteLossError, match="validation of volume-1: NaN or infinity") as error:
        validate(config, state, Cache.open(cache), ["volume-1"], lambda: False)
    assert "--config.optimizer.learning_rate=0.01" in str(error.value)
    assert "its own weights are not finite: batch_stats/" in str(error.value)


def test_a_phase_ends_with_its_best_weights_on_whole_volumes(reference: Path):
    lines = read_lines(reference / "metrics.jsonl")
    assert [(line["phase"], line["step"]) for line in lines if "volumes" in line] == [
        ("phase1", 4),
        ("phase2", 4),
    ]
    for line in lines:
        if "volumes" in line:
            assert set(line["volumes"]) == {"liver_dice", "tumour_dice", "mean_dice"}
