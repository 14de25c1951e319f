import numpy as np
import pytest

from experiments.benchmarks.measuring.pairs import Alternation, Spread, alternate, difference
from experiments.benchmarks.measuring.worker import Sample


class Fake:
    """Takes the seconds that it is told, and notes when it was asked."""

    def __init__(self, name, seconds, log):
        self.name, self.seconds, self.log = name, seconds, log

    def sample(self, calls=1):
        self.log.append((self.name, calls))
        return Sample(self.seconds, 2 * self.seconds)


def test_sides_take_turns_and_short_calls_are_many():
    log = []
    workers = {"ours": Fake("ours", 0.02, log), "theirs": Fake("theirs", 4.0, log)}
    measured = alternate(workers, rounds=2, sample_s=0.2)
    assert log == [("ours", 1), ("theirs", 1)] + 2 * [("ours", 10), ("theirs", 1)]
    assert measured.ratio("ours", "theirs") == Spread(0.005, 0.005, 0.005)
    assert measured.seconds("theirs", "cpu_s").median == 8


def test_untimed_calls_go_before_each_sample():
    log = []
    workers = {"ours": Fake("ours", 1.0, log), "theirs": Fake("theirs", 1.0, log)}
    measured = alternate(workers, rounds=2, untimed_calls=3)
    assert log == [("ours", 1), ("theirs", 1)] + 2 * [("ours", 3), ("ours", 1), ("theirs", 3), ("theirs", 1)]
    assert len(measured.samples["ours"]) == 2


def test_a_ratio_is_of_neighbours():
    # The machine is twice as slow in the second round: the ratio stays.
    ours = [Sample(1, 1), Sample(2, 1), Sample(3, 1)]
    theirs = [Sample(2, 2), Sample(4, 2), Sample(3, 2)]
    measured = Alternation({"ours": ours, "theirs": theirs})
    assert measured.ratio("ours", "theirs") == Spread(0.5, 0.5, 1)
    assert measured.ratio("ours", "theirs", "cpu_s") == Spread(0.5, 0.5, 0.5)
    assert measured.best(["ours", "theirs"]) == "ours"
    assert str(measured.seconds("ours")) == "2 (1-3)"
    assert measured.as_json()["theirs"]["wall_s"] == {"median": 3, "low": 2, "high": 4}


def test_differences_are_shares_of_the_largest_value():
    ours = {"y": np.array([1.0, 10.0])}
    assert difference(ours, {"y": np.array([1.5, 10.0])}) == {"y": 0.05}
    with pytest.raises(ValueError, match="shape"):
        difference(ours, {"y": np.ones(3)})
    with pytest.raises(ValueError, match="outputs"):
        difference(ours, {"z": np.ones(2)})
