"""The seconds of a step, on a device that computes while it dispatches and on one that does not."""

import time
import types

import pytest

from dsdenseunet.tasks import lits
from dsdenseunet.training import loop
from tests.training import tiny


class Metric:
    """A scalar of a step that is ready at once, or only when it is waited for."""

    def __init__(self, ready):
        self.ready = ready

    def is_ready(self):
        return self.ready

    def __float__(self):
        return 1.0


@pytest.mark.parametrize("ready", [True, False])
def test_a_step_ends_when_its_metrics_are_ready(ready, monkeypatch):
    """Dispatching takes 0.2 s, what comes between it and the reading 0.4 s."""
    rates, config = [], tiny.get_config()
    log = types.SimpleNamespace(step=lambda epoch, step, values, rate, memory: rates.append(rate))
    phase = types.SimpleNamespace(config=config, steps_per_epoch=1)
    monkeypatch.setattr(loop, "scalars", lambda metrics, regions: {})
    waiting = loop._Waiting(phase, log)
    time.sleep(0.2)
    waiting.put(1, {}, {"loss": Metric(ready), "healthy": Metric(ready)})
    time.sleep(0.4)
    waiting.read(types.SimpleNamespace(recipe=lits.TASK))
    (rate,) = rates
    assert (1 / rate < 0.4) == ready
