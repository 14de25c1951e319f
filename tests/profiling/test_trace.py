import pytest

from dsdenseunet.profiling.trace import Span, covered, self_times


def test_time_inside_an_operation_is_not_its_own():
    """A loop of 10 ns with two operations of 3 ns, in one of which another takes 1 ns; then one by itself."""
    spans = [
        Span("loop", 0, 10e9),
        Span("first", 1e9, 4e9),
        Span("inner", 2e9, 3e9),
        Span("second", 5e9, 8e9),
        Span("alone", 10e9, 12e9),
    ]
    expected = {"loop": 4, "first": 2, "inner": 1, "second": 3, "alone": 2}
    assert dict(self_times(reversed(spans))) == pytest.approx(expected)


def test_time_of_several_threads_counts_once():
    assert covered([Span("a", 0, 5), Span("b", 3, 7), Span("c", 4, 6), Span("d", 10, 11)]) == 8
    assert covered([]) == 0
