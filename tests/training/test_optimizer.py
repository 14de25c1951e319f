import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs.base import base_config
from dsdenseunet.training import optimizer
from dsdenseunet.training.schedules import StepDecay, phase_schedule

RATE = StepDecay(0.1, 1.0, 1, 0.0)
PARAMS = {"conv": {"kernel": jnp.asarray([1.0, -2.0]), "bias": jnp.asarray([3.0])}}
GRADIENT = {"conv": {"kernel": jnp.asarray([3.0, 0.0]), "bias": jnp.asarray([4.0])}}


def fields(**changed):
    config = base_config().optimizer
    for name, value in changed.items():
        config[name] = value
    return config


def after(steps, schedule=RATE, **changed):
    """Parameters after some steps with the same gradient."""
    made, params = optimizer.build(fields(**changed), schedule), PARAMS
    state = made.init(params)
    for _ in range(steps):
        updates, state = made.update(GRADIENT, state, params)
        params = optax.apply_updates(params, updates)
    return params["conv"]


def test_momentum_by_hand():
    # Traces 3, 3 + 0.5 x 3 = 4.5; rates 0.1, 0.05.
    got = after(2, StepDecay(0.1, 0.5, 1, 0.0), momentum=0.5)
    assert float(got["kernel"][0]) == pytest.approx(1 - 0.3 - 0.225, rel=1e-6)


def test_nesterov_by_hand():
    # The first update is gradient + 0.5 x trace = 3 + 1.5.
    assert float(after(1, momentum=0.5, nesterov=True)["kernel"][0]) == pytest.approx(1 - 0.45, rel=1e-6)


def test_clipping_by_hand():
    # The norm over all parameters is 5: a clip to 1 divides by it.
    got = after(1, momentum=0.0, clip_norm=1.0)
    np.testing.assert_allclose(got["kernel"], [1 - 0.06, -2.0], rtol=1e-6)
    np.testing.assert_allclose(got["bias"], [3 - 0.08], rtol=1e-6)
    unclipped = after(1, momentum=0.0, clip_norm=6.0)
    np.testing.assert_allclose(unclipped["kernel"], [1 - 0.3, -2.0], rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_weight_decay_is_of_kernels_and_apart_from_the_gradient(name):
    with_decay, without = (after(1, name=name, weight_decay=decay) for decay in (0.2, 0.0))
    np.testing.assert_allclose(
        with_decay["kernel"], without["kernel"] - 0.1 * 0.2 * PARAMS["conv"]["kernel"], rtol=1e-5
    )
    np.testing.assert_array_equal(with_decay["bias"], without["bias"])


def test_adam_with_decay_is_optax_adamw():
    expected, state = (
        PARAMS,
        (peer := optax.adamw(0.1, weight_decay=0.01, mask=optimizer.kernels)).init(PARAMS),
    )
    for _ in range(3):
        updates, state = peer.update(GRADIENT, state, expected)
        expected = optax.apply_updates(expected, updates)
    got = {"conv": after(3, name="adam", weight_decay=0.01)}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, expected)


def test_equal_schedules_share_one_optimizer():
    config = base_config()
    config.phases.phase1.epochs = config.phases.phase2.epochs = 100
    one, two = (phase_schedule(config, phase) for phase in ("phase1", "phase2"))
    assert one == two
    assert optimizer.build(config.optimizer, one) is optimizer.build(config.optimizer, two)
