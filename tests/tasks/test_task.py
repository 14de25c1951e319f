import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsdenseunet.core.errors import InputError
from dsdenseunet.tasks.lits import TASK
from dsdenseunet.tasks.task import Region, Task

BRAIN = {
    "name": "brain",
    "classes": ("background", "oedema", "core", "enhancing"),
    "regions": (("whole", (1, 2, 3)), ("core", (2, 3)), ("rim", (1, 3))),
    "channels": (("FLAIR", "zscore_foreground"), ("T1", "percentiles", 0.5, 99.5)),
    "ignore_label": -1,
    "stratify_by": "",
    "select_by": ("whole", "core"),
    "detect": (),
    "clean_up": (("largest", "whole"), ("within", "core", "whole", 2)),
    "spacing_mm": (3.0, 1.0, 1.0),
}


@pytest.mark.parametrize("task", [TASK, Task.of(BRAIN)], ids=["lits", "brain"])
def test_a_task_survives_json(task):
    assert Task.of(json.loads(json.dumps(task.to_config()))) == task


def test_a_task_of_an_older_version_keeps_each_scan_s_own_spacing():
    stored = {field: value for field, value in BRAIN.items() if field != "spacing_mm"}
    assert Task.of(stored).spacing_mm == ()
    assert "spacing 3 x 1 x 1 mm" in Task.of(BRAIN).in_words()
    assert "each scan's own spacing" in Task.of(stored).in_words()


def test_regions_may_overlap():
    labels = np.arange(4)
    masks = {region.name: region.mask(labels).tolist() for region in Task.of(BRAIN).regions}
    assert masks == {
        "whole": [False, True, True, True],
        "core": [False, False, True, True],
        "rim": [False, True, False, True],
    }


@given(st.sets(st.integers(1, 5), min_size=1))
def test_a_region_is_the_union_of_its_labels(labels):
    volume = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    np.testing.assert_array_equal(Region("r", tuple(labels)).mask(volume), np.isin(volume, list(labels)))


def test_the_mean_is_over_the_regions_that_select():
    scores = Task.of(BRAIN).dice_scores([0.5, 0.25, 1.0])
    assert scores == {"whole_dice": 0.5, "core_dice": 0.25, "rim_dice": 1.0, "mean_dice": 0.375}


@pytest.mark.parametrize(
    ("change", "where", "found"),
    [
        ({"regions": (("whole", (1, 4)),)}, "regions", "whole with the label 4"),
        ({"regions": (("whole", ()),)}, "regions", "('whole', ())"),
        ({"regions": ()}, "regions", "()"),
        ({"regions": (("whole", (0, 1)),)}, "regions", "(0, 1)"),
        ({"regions": (("mean", (1,)),)}, "regions", "mean"),
        ({"regions": (("a b", (1,)),)}, "regions", "a b"),
        ({"regions": (("rim", (1,)), ("rim", (2,)))}, "regions", "a name twice"),
        ({"classes": ("background", "core", "core", "x")}, "classes", "a name twice"),
        ({"classes": ("background",)}, "classes", "('background',)"),
        ({"channels": (("CT", "window", 250.0, -200.0),)}, "channels", "250.0"),
        ({"channels": (("CT", "window"),)}, "channels", "window"),
        ({"channels": (("MR", "zscores"),)}, "channels", "zscores"),
        ({"channels": (("MR", "zscore", 1.0),)}, "channels", "1.0"),
        ({"channels": (("MR", "percentiles", 1.0, 101.0),)}, "channels", "101"),
        ({"ignore_label": 2}, "ignore_label", "2, a class"),
        ({"stratify_by": "liver"}, "stratify_by", "'liver'"),
        ({"select_by": ("liver",)}, "select_by", "'liver'"),
        ({"detect": ("liver",)}, "detect", "'liver'"),
        ({"clean_up": (("largest", "liver"),)}, "clean_up", "'liver'"),
        ({"clean_up": (("within", "core", "whole"),)}, "clean_up", "within"),
        ({"clean_up": (("smallest", "core"),)}, "clean_up", "smallest"),
        ({"spacing_mm": (3.0, 1.0)}, "spacing_mm", "(3.0, 1.0)"),
        ({"spacing_mm": (3.0, 1.0, 0.0)}, "spacing_mm", "0.0"),
        ({"spacing_mm": (3.0, 1.0, float("nan"))}, "spacing_mm", "nan"),
        ({"spacing_mm": (3.0, 1.0, True)}, "spacing_mm", "True"),
        ({"spacing_mm": 1.5}, "spacing_mm", "1.5"),
        ({"colour": "red"}, "colour", "an unknown field"),
    ],
)
def test_what_contradicts_itself_is_refused_by_its_field(change, where, found):
    with pytest.raises(InputError) as error:
        Task.of({**BRAIN, **change})
    assert error.value.where == f"config.task.{where}"
    assert found in error.value.found


@given(
    st.sampled_from(sorted(BRAIN)),
    st.recursive(st.none() | st.integers() | st.text() | st.floats(), st.lists),
)
def test_no_value_of_any_kind_ends_in_another_error(field, value):
    try:
        Task.of({**BRAIN, field: value})
    except InputError as error:
        assert error.where.startswith("config.task.")


@pytest.mark.parametrize(
    ("change", "reads"),
    [
        ({}, True),
        ({"name": "another", "regions": (("all", (1, 2, 3)),), "select_by": ("all",), "clean_up": ()}, True),
        ({"classes": ("background", "oedema", "core", "rim")}, False),
        ({"channels": (("FLAIR", "zscore"), ("T1", "percentiles", 0.5, 99.5))}, False),
        ({"channels": (("FLAIR", "zscore_foreground"),)}, False),
        ({"ignore_label": 255}, True),
        ({"spacing_mm": [3, 1, 1]}, True),
        ({"spacing_mm": (3.0, 1.0, 1.5)}, False),
        ({"spacing_mm": ()}, False),
    ],
)
def test_a_cache_serves_every_task_that_reads_the_same_voxels(change, reads):
    assert Task.of(BRAIN).reads_as(Task.of({**BRAIN, **change})) == reads


def test_a_window_may_change_but_not_become_another_normalisation():
    values = TASK.to_config()
    assert TASK.reads_as(Task.of({**values, "channels": (("CT", "window", -100.0, 300.0),)}))
    assert not TASK.reads_as(Task.of({**values, "channels": (("CT", "none"),)}))
    assert not TASK.reads_as(Task.of({**values, "ignore_label": -1}))


def test_what_is_selected_by():
    task = Task.of({**BRAIN, "select_by": ("core", "whole_recall", "core_surface_dice_2mm")})
    assert task.selected_regions == ("core", "whole")
    assert task.selected_scores == ("whole_recall", "core_surface_dice_2mm")
    # A region whose name begins with another's.
    regions = (*BRAIN["regions"], ("core_b", (1,)))
    task = Task.of({**BRAIN, "regions": regions, "select_by": ("core_b_recall",)})
    assert task.selected_regions == ("core_b",)
