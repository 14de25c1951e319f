"""Validation spreads its cases over all devices; whatever their number, the scores are the same bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from dsdenseunet import parallel
from dsdenseunet.data.cache import Cache
from dsdenseunet.models import registry
from dsdenseunet.training.failure import NonFiniteLossError
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.state import create_state
from dsdenseunet.training.validation import validate
from tests.training import tiny
from tests.training.test_parallel import EIGHT, start_processes

# Eleven cases (names may come again): two rounds on eight devices, the second not full.
SCRIPT = """
import json, sys
from pathlib import Path
from dsdenseunet import parallel
from tests.training import tiny
from dsdenseunet.models import registry
registry.build = tiny.build_tiny
from dsdenseunet.data.cache import Cache
from dsdenseunet.inference.predict import class_probabilities
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.state import create_state
from dsdenseunet.training.validation import validate

config = tiny.get_config()
mesh = parallel.data_mesh()
state = parallel.place_state(mesh, create_state(build_recipe(config), 5))
cache = Cache.open(sys.argv[1])
names = [cache.names[index % 3] for index in range(11)]
asked = []
scores = validate(config, state, cache, names, lambda: bool(asked.append(1)))
assert validate(config, state, cache, names, lambda: True) is None
print(json.dumps([scores, len(asked), class_probabilities._cache_size()]))
"""


def scores(cache: Path, **environment: str) -> tuple[dict[str, float], int, int]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(cache)],
        **{"cwd": tiny.ROOT, "capture_output": True, "text": True, "check": False},
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    values, rounds, programs = json.loads(done.stdout)
    return values, rounds, programs


def test_eight_devices_give_the_bits_of_one(cache: Path):
    one, rounds, programs = scores(cache)
    assert (rounds, programs) == (11, 1)
    eight, rounds, programs = scores(cache, **EIGHT)
    assert (rounds, programs) == (2, 8), "every device has had a case"
    assert eight == one
    assert 0 < one["liver_dice"] < 1


def test_two_processes_of_two_devices_validate_as_one(cache: Path, tmp_path: Path):
    """A run's validations: only training itself may differ, by sums in another order."""
    arguments = (
        "--config.training.phase=phase1",
        "--config.data.batch_size=4",
        '--config.data.explicit.train=("volume-0",)',
        '--config.data.explicit.validation=("volume-1","volume-2")',
    )
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
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
        validate(config, state, Cache.open(cache), ["volume-1", "volume-2"], lambda: False)
    assert "--config.optimizer.learning_rate=0.01" in str(error.value)
    assert "its own weights are not finite: batch_stats/" in str(error.value)
