import pytest

from dsdenseunet.reporting.curves import dice_figure, loss_figure
from dsdenseunet.reporting.style import PHASE_COLOURS
from dsdenseunet.tasks.colours import COLOURS


def metrics(phases=("phase1", "phase2"), steps=20):
    lines = []
    for phase in phases:
        lines += [{"phase": phase, "step": step, "loss": 1 / step} for step in range(1, steps + 1)]
        for step, tumour in ((10, 0.7), (20, 0.4)):
            scores = {"liver_dice": 0.9, "tumour_dice": tumour, "mean_dice": (0.9 + tumour) / 2}
            lines.append({"phase": phase, "step": step, "validation": scores})
    return lines


def test_phases_follow_each_other_in_colours_of_their_own():
    (axis,) = loss_figure(metrics()).axes
    for phase, first in ((0, 1), (1, 21)):
        raw, smooth = (line for line in axis.lines if line.get_color() == PHASE_COLOURS[phase])
        assert list(raw.get_xdata()) == list(range(first, first + 20))
        assert list(raw.get_ydata()) == [1 / step for step in range(1, 21)]
        assert max(smooth.get_ydata()) < 1
    assert axis.get_yscale() == "log"
    assert [text.get_text() for text in axis.texts] == ["phase1", "phase2"]


def test_rings_mark_the_best_of_each_phase():
    (axis,) = dice_figure(metrics()).axes
    rings = [line for line in axis.lines if line.get_markersize() == 10]
    assert sorted(line.get_xdata()[0] for line in rings) == [10, 10, 30, 30]
    assert {line.get_color() for line in axis.lines} >= set(COLOURS[:2])
    assert axis.get_ylim()[0] == 0


@pytest.mark.parametrize("figure", [loss_figure, dice_figure])
def test_one_phase_alone(figure):
    (axis,) = figure(metrics(phases=("phase1",))).axes
    assert [text.get_text() for text in axis.texts] == ["phase1"]


def test_a_single_step_is_seen():
    (axis,) = loss_figure([{"phase": "phase1", "step": 1, "loss": 0.4}]).axes
    assert [line.get_marker() for line in axis.lines if line.get_linewidth() == 2] == ["o"]
