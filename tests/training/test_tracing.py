import jax
import pytest

from configs import cascades
from configs.base import base_config
from dsdenseunet.core.errors import InputError
from dsdenseunet.training import tracing
from dsdenseunet.training.settings import check_config


@pytest.fixture
def events(monkeypatch):
    """What the profiler is told, in order."""
    told = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder, profiler_options: told.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: told.append("stop"))
    return told


@pytest.mark.parametrize(
    ("steps", "begin", "end", "expected"),
    [
        ((), 1, 4, [1, 2, 3, 4]),
        ((2, 3), 1, 4, [1, "start", 2, 3, "stop", 4]),
        ((2, 2), 1, 3, [1, "start", 2, "stop", 3]),
        # A resume within them, and an end before the last.
        ((2, 5), 4, 6, ["start", 4, 5, "stop", 6]),
        ((2, 5), 1, 3, [1, "start", 2, 3, "stop"]),
    ],
)
def test_the_steps_that_are_asked_for_are_traced(events, tmp_path, steps, begin, end, expected):
    traced = tracing.StepTrace(steps, tmp_path)
    for number in range(begin, end + 1):
        with traced.step(number):
            events.append(number)
        traced.end(number)
    traced.close()
    assert events == expected


def test_the_flag_sets_the_field_of_every_stage():
    config = base_config()
    tracing.set_steps(config, None)
    assert config.training.profile_steps == ()
    tracing.set_steps(config, "20:25")
    assert config.training.profile_steps == (20, 25)
    check_config(config)
    several = cascades.get_config(next(iter(cascades.CASCADES)))
    tracing.set_steps(several, "1:2")
    assert {several.stages[name].training.profile_steps for name in several.stages.order} == {(1, 2)}


@pytest.mark.parametrize("flag", ["5", "5:", "a:b", "-1:3", "1:2:3"])
def test_a_flag_of_another_form(flag):
    with pytest.raises(InputError, match="FIRST:LAST"):
        tracing.set_steps(base_config(), flag)


@pytest.mark.parametrize("steps", [(0, 3), (5, 4), (1,), (1, 2, 3), (1.0, 2.0)])
def test_steps_that_are_none(steps):
    config = base_config()
    config.training.profile_steps = steps
    with pytest.raises(InputError, match="profile_steps"):
        check_config(config)
