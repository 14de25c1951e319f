import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dsdenseunet.training.schedules import Cosine, Polynomial, StepDecay, WarmUp, phase_schedule
from tests.training import tiny


def paper_config(**fields: object):
    config = tiny.get_config()
    config.training.steps_per_epoch = 10
    config.phases.phase1.epochs = 100
    config.optimizer.learning_rate = 0.01
    config.optimizer.lr_floor = 0.0
    for name, value in fields.items():
        config.optimizer[name] = value
    return config


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.01), (99, 0.01), (100, 0.005), (199, 0.005), (200, 0.0025), (999, 0.01 / 2**9)],
)
def test_halved_every_ten_epochs_of_ten_steps(step: int, rate: float):
    assert float(phase_schedule(paper_config(), "phase1")(step)) == pytest.approx(rate, rel=1e-6)


def test_equals_optax_piecewise_constant_over_both_phases():
    schedule = phase_schedule(paper_config(), "phase1")
    piecewise = optax.piecewise_constant_schedule(0.01, {100 * k: 0.5 for k in range(1, 110)})
    # Optax changes the rate after the boundary's step, here with it.
    for step in (0, 50, 99, 100, 101, 555, 1000, 2999):
        np.testing.assert_allclose(schedule(step), piecewise(step), rtol=1e-5)


def test_floor():
    schedule = phase_schedule(paper_config(lr_floor=1e-3), "phase1")
    assert float(schedule(300)) == pytest.approx(0.00125)
    assert float(schedule(400)) == pytest.approx(1e-3)
    assert float(schedule(10_999)) == pytest.approx(1e-3)


def plain_rate(step: int, initial: float, factor: float, interval: int, floor: float, first: int) -> float:
    """What the documentation says, in Python's own numbers."""
    return max(initial * factor ** ((step + first) // interval), min(floor, initial))


@settings(deadline=None)
@given(
    step=st.integers(0, 2**30 - 1),
    initial=st.floats(1e-8, 10),
    factor=st.floats(0.01, 1),
    interval=st.integers(1, 10**6),
    floor=st.floats(0, 1),
    first=st.integers(0, 2**30),
)
# Below its floor from the start; a factor of 1, also without a floor; the last step before a decay where
# the quotient is no float32.
@example(step=0, initial=1e-4, factor=0.5, interval=100, floor=1e-3, first=0)
@example(step=5, initial=0.01, factor=1.0, interval=1, floor=0.0, first=0)
@example(step=5, initial=0.01, factor=1.0, interval=1, floor=1e-3, first=0)
@example(step=2**25 * 3 - 1, initial=0.01, factor=0.5, interval=2**25, floor=0.0, first=0)
def test_every_schedule_is_what_the_documentation_says(
    step: int, initial: float, factor: float, interval: int, floor: float, first: int
):
    rate = StepDecay(initial, factor, interval, floor, first)(step)
    assert rate.dtype == jnp.float32
    decays = (step + first) // interval
    # A float32 factor is off by 2^-25 of itself, and that many times over after as many decays; a rate that
    # no float32 holds is 0.
    expected = plain_rate(step, initial, factor, interval, floor, first)
    assert float(rate) == pytest.approx(expected, rel=1e-5 + 6e-8 * decays, abs=1e-37)


@pytest.mark.parametrize("floor", [0.0, 1e-3])
def test_the_papers_schedule_has_the_bits_it_always_had(floor: float):
    schedule = StepDecay(0.01, 0.5, 100, floor)
    before = optax.exponential_decay(0.01, 100, 0.5, staircase=True, end_value=floor)
    for step in (0, 99, 100, 999, 1000, 2_345, 10_999):
        np.testing.assert_array_equal(schedule(step), jnp.asarray(before(step), jnp.float32))


def test_phase_two_restarts_or_goes_on():
    config = paper_config()
    restarting = phase_schedule(config, "phase2")
    config.phases.phase2.continue_schedule = True
    continuing = phase_schedule(config, "phase2")
    assert float(restarting(0)) == pytest.approx(0.01)
    assert float(continuing(0)) == pytest.approx(0.01 / 2**10)
    assert float(continuing(100)) == pytest.approx(0.01 / 2**11)


def test_a_polynomial_by_hand():
    schedule = Polynomial(0.1, 0.5, total_steps=4, floor=0.0)
    expected = [0.1, 0.1 * 0.75**0.5, 0.1 * 0.5**0.5, 0.05, 0.0, 0.0]
    np.testing.assert_allclose([schedule(step) for step in range(6)], expected, rtol=1e-6)


def test_a_cosine_by_hand():
    schedule = Cosine(0.1, total_steps=4, floor=0.02)
    half = 0.04 * 2**-0.5
    expected = [0.1, 0.06 + half, 0.06, 0.06 - half, 0.02, 0.02]
    np.testing.assert_allclose([schedule(step) for step in range(6)], expected, rtol=1e-5)


def test_a_warm_up_by_hand():
    schedule = WarmUp(StepDecay(0.1, 0.5, 100, 0.0), steps=3)
    np.testing.assert_allclose(
        [schedule(step) for step in range(5)], [0.025, 0.05, 0.075, 0.1, 0.1], rtol=1e-6
    )


@pytest.mark.parametrize("name", ["polynomial", "cosine"])
def test_schedules_end_with_their_phase_or_with_the_last(name: str):
    config = paper_config(schedule=name)
    config.phases.phase2.epochs = 50
    for phase, steps in (("phase1", 1000), ("phase2", 500)):
        schedule = phase_schedule(config, phase)
        assert float(schedule(0)) == pytest.approx(0.01)
        assert float(schedule(steps - 1)) < 1e-4
        assert float(schedule(steps)) == pytest.approx(0, abs=1e-9)
    config.phases.phase2.continue_schedule = True
    first, second = phase_schedule(config, "phase1"), phase_schedule(config, "phase2")
    assert float(first(1000)) == pytest.approx(float(second(0)))
    assert float(second(500)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", ["step", "polynomial", "cosine"])
def test_no_schedule_falls_below_the_floor_or_rises_to_it(name: str):
    config = paper_config(schedule=name, lr_floor=1e-3)
    assert float(phase_schedule(config, "phase1")(1000)) == pytest.approx(1e-3)
    low = paper_config(schedule=name, lr_floor=1e-3, learning_rate=1e-4)
    assert [float(phase_schedule(low, "phase1")(step)) for step in (0, 1000)] == pytest.approx([1e-4, 1e-4])
