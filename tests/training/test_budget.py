"""A run that ends by the clock, with a clock that tests set."""

from __future__ import annotations

import math
import signal
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.base import in_order, phase
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.cache import Cache
from dsdenseunet.inference.predict import Predictor
from dsdenseunet.inference.sliding_window import patch_starts
from dsdenseunet.models import registry
from dsdenseunet.runtime import clock, parallel
from dsdenseunet.training import budget, cascade, loop, validation
from dsdenseunet.training.budget import Budget
from dsdenseunet.training.checkpoint import progress_of
from dsdenseunet.training.interruption import Interrupted
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.state import create_state
from tests.training import tiny
from tests.training.test_logs import read_lines


class Clock:
    """Seconds that pass when told so."""

    def __init__(self, now: float = 0.0):
        self.now = now

    def __call__(self) -> float:
        return self.now


def config_of(seconds: float, **epochs: int) -> ConfigDict:
    config = tiny.get_config()
    config.training.budget_seconds = seconds
    config.phases = in_order(**{name: phase(number) for name, number in epochs.items()})
    return config


def positions(made: Budget, time: Clock, step_s: float) -> list[float]:
    """Of all steps until there is no time for another."""
    found = []
    while not made.over():
        found.append(made.step())
        time.now += step_s
    return found


@pytest.mark.parametrize("step_s", [0.5, 1.0, 3.0])
def test_the_whole_schedule_in_the_time_that_is_left_after_compiling(step_s: float):
    time = Clock(20.0)
    made = Budget(config_of(100.0, only=30), "only", clock=time)
    assert made.total == 60
    # Reading took 20 s before, compiling 10 s more.
    assert made.step() == 0
    time.now += 10
    found = positions(made, time, step_s)
    assert found[0] == 0
    end = 100 - 2
    np.testing.assert_allclose(np.diff(found)[1:], 60 / (end - 30) * step_s, rtol=1e-9)
    assert end - step_s <= time.now <= end
    assert made.position == 60


def test_a_machine_that_becomes_slower_makes_fewer_steps_of_the_same_course():
    time = Clock()
    made = Budget(config_of(100.0, only=50), "only", clock=time)
    made.step()
    first = [made.step() for time.now in range(40)]
    time.now += 1
    rest = positions(made, time, 5.0)
    assert len(first) + len(rest) < 60
    assert first[-1] < rest[0] < rest[-1] <= 100
    # At most a step of the slower kind over what is kept for the end.
    assert 93 <= time.now <= 103


def test_the_validation_at_the_end_has_its_time():
    time = Clock()
    made = Budget(config_of(100.0, only=50), "only", clock=time)
    # The first one compiled.
    made.validated(25.0)
    made.validated(12.0)
    positions(made, time, 1.0)
    assert 87 <= time.now <= 88


def test_the_schedule_never_goes_back():
    time = Clock()
    made = Budget(config_of(100.0, only=50), "only", clock=time)
    made.validated(40.0)
    before = [made.step() for time.now in range(30)]
    made.validated(2.0)
    assert made.step() == before[-1]
    assert positions(made, time, 1.0)[-1] == pytest.approx(100, abs=2)


def test_phases_share_the_time_by_their_epochs():
    time, config = Clock(10.0), config_of(100.0, one=10, two=20)
    positions(Budget(config, "one", clock=time), time, 0.5)
    # A third of the 90 s that are left after 10.
    assert time.now == pytest.approx(40 - 2, abs=0.5)
    positions(Budget(config, "two", clock=time), time, 0.5)
    assert time.now == pytest.approx(98, abs=0.5)


def test_after_a_resume_what_was_used_counts_and_the_schedule_goes_on():
    time = Clock()
    made = Budget(config_of(100.0, only=50), "only", clock=time)
    for time.now in range(50):
        made.step()
    kept = made.spent()
    later = Clock(8.0)
    again = Budget(config_of(100.0, only=50), "only", kept["seconds"], kept["position"], later)
    found = positions(again, later, 1.0)
    assert found[0] == found[1] == kept["position"]
    assert kept["seconds"] + later.now == pytest.approx(98, abs=1)
    done = Budget(config_of(100.0, only=50), "only", 98.0, again.position, Clock(3.0))
    assert done.over()


def test_the_clock_counts_from_the_start_of_the_process():
    first = clock.seconds_since_start()
    assert 0 < first <= clock.seconds_since_start() < first + 60


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A second a batch, ten before the first one; a second a validation, however busy the machine is."""
    time, place, validated = Clock(10.0), parallel.place_batch, Budget.validated

    def counted(*arguments):
        time.now += 1
        return place(*arguments)

    monkeypatch.setattr(parallel, "place_batch", counted)
    monkeypatch.setattr(Budget, "validated", lambda self, _: validated(self, 1.0))
    monkeypatch.setattr(budget.Budget.__init__, "__defaults__", (0.0, 0.0, time))
    monkeypatch.setattr(registry, "build", tiny.build_tiny)
    return time


def test_a_run_ends_with_its_time_and_its_schedule(cache: Path, tmp_path: Path, fake: Clock):
    config = config_of(50.0, only=4)
    config.data.cache = str(cache)
    config.optimizer.schedule, config.optimizer.lr_floor = "cosine", 0.0
    config.training.validate_epochs = config.training.checkpoint_epochs = 10
    cascade.run(config, tmp_path)
    lines = read_lines(tmp_path / "metrics.jsonl")
    rates = [line["learning_rate"] for line in lines if "loss" in line]
    assert len(rates) == pytest.approx(39, abs=2)
    assert rates[0] == rates[1] == pytest.approx(0.1)
    assert all(np.diff(rates[1:]) < 0)
    assert rates[-1] < 0.003
    assert [line["step"] for line in lines if "validation" in line] == [20, len(rates)]
    assert not any("volumes" in line for line in lines)
    # Every 0 epochs is never: then no weights but the last ones can be the best.
    only = loop.Phase("only", config, tmp_path, Cache.open(str(cache)), (), ())
    assert [step for step in range(25) if only.due(step, 2)] == [4, 8, 12, 16, 20, 24]
    assert not any(only.due(step, 0) for step in range(25))
    # It is over, whatever the clock says after another start; and it is no other run's time.
    fake.now = 5.0
    before = tiny.final_arrays(tmp_path, "only")
    cascade.run(config, tmp_path)
    np.testing.assert_equal(tiny.final_arrays(tmp_path, "only"), before)
    config.training.budget_seconds = 60.0
    with pytest.raises(InputError, match="budget_seconds"):
        cascade.run(config, tmp_path)


@pytest.mark.parametrize("patches", [0, 6])
def test_a_validation_is_expected_to_take_what_its_patches_do(
    cache: Path, monkeypatch: pytest.MonkeyPatch, patches: int
):
    """A fifth of a second a patch here, three tenths for what is beside, and fifty seconds to compile."""
    monkeypatch.setattr(registry, "build", tiny.build_tiny)
    config = tiny.get_config()
    config.training.validate_patches, config.training.validate_cases = patches, 2
    config.data.patch_size = (4, 16, 16)
    opened, asked, now = Cache.open(str(cache)), [], Clock()
    names = opened.names[:3]

    def count(shape):
        sides = zip(shape, config.data.patch_size)
        return math.prod(len(patch_starts(max(size, side), side, 0.5)) for size, side in sides)

    def segment(self, image, spacing_mm, statistics):
        asked.append(count(image.shape[:3]))
        now.now += 0.3 + 0.2 * asked[-1] if len(asked) > 1 else 50

    monkeypatch.setattr(Predictor, "segment", segment)
    state = create_state(build_recipe(config), seed=0)
    monkeypatch.setattr(validation.time, "perf_counter", now)
    seconds = validation.expected_seconds(config, state, opened, names)
    shapes = [opened.case(name).labels_DHW.shape for name in validation.chosen_cases(config, opened, names)]
    calls = patches or sum(map(count, shapes))
    # Single patches each have what is beside them; of a volume several patches together are timed.
    assert asked == [1, 1] if patches else asked[:2] == [1, 1] and asked[2] == asked[3] > 1
    each = (0.3 + 0.2 * asked[-1]) / asked[-1]
    assert seconds == pytest.approx(each * math.ceil(calls / parallel.device_count()))


def test_two_phases_and_a_stop_between_take_the_time_that_there_is(
    cache: Path, tmp_path: Path, fake: Clock, monkeypatch: pytest.MonkeyPatch
):
    """Stopped in the first phase and gone on with by another process: both schedules are complete."""
    config = config_of(120.0, one=2, two=4)
    config.data.cache = str(cache)
    config.phases.two.start = "best:one"
    config.optimizer.schedule, config.optimizer.lr_floor = "cosine", 0.0
    config.training.validate_epochs, config.training.checkpoint_epochs = 0, 100
    place = parallel.place_batch

    def stopping(*arguments):
        if fake.now == 30:
            signal.raise_signal(signal.SIGTERM)
        return place(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(parallel, "place_batch", stopping)
        cascade.run(config, tmp_path)
    used = progress_of(tmp_path, "one")["seconds"]
    assert 30 <= used <= 32
    # The next process reads for five seconds, and has another start of the clock.
    fake.now = 5.0
    cascade.run(config, tmp_path)
    taken = progress_of(tmp_path, "two")["seconds"]
    assert taken == pytest.approx(used + fake.now, abs=1)
    assert taken == pytest.approx(120, rel=0.05)
    lines = [line for line in read_lines(tmp_path / "metrics.jsonl") if "loss" in line]
    for name, epochs in (("one", 2), ("two", 4)):
        assert progress_of(tmp_path, name)["position"] == 2 * epochs
        rates = [line["learning_rate"] for line in lines if line["phase"] == name]
        assert rates[0] == pytest.approx(0.1) and rates[-1] < 0.01
        assert all(np.diff(rates) <= 0)
    # Another run in the same process has all of its own time.
    fake.now = begun = 300.0
    config.training.budget_seconds = 20.0
    config.phases = in_order(one=phase(2))
    cascade.run(config, tmp_path / "second", earlier_s=begun)
    assert progress_of(tmp_path / "second", "one")["seconds"] == pytest.approx(20, abs=1.5)
