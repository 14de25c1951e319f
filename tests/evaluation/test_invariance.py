"""What no score may depend on: where an object lies, and how the volume that holds it is stored."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dsdenseunet.evaluation import cohort, lesions, pair, score, surface
from dsdenseunet.evaluation.case import MODES

# Real spacings, their 32-bit forms as headers hold them, and any other.
SIDES = st.one_of(
    st.sampled_from([0.6, 0.7, 0.75, 0.3, 1.0, 1.5, 2.5, *(float(np.float32(s)) for s in (0.6, 0.7, 0.3))]),
    st.floats(0.25, 5.0, allow_subnormal=False),
)
SPACINGS = st.tuples(SIDES, SIDES, SIDES)
OFFSETS = st.tuples(*[st.integers(0, 9)] * 3)
SHAPES = st.tuples(*[st.integers(1, 5)] * 3)


@st.composite
def mask_pairs(draw):
    """Two masks of one shape that each hold something."""
    shape = draw(SHAPES)
    first, second = (draw(hnp.arrays(bool, shape)) for _ in range(2))
    assume(first.any() and second.any())
    return first, second


@st.composite
def label_pairs(draw):
    shape = draw(SHAPES)
    return tuple(draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 2))) for _ in range(2))


def far_from_a_voxel_at_the_origin(mask, offset):
    """A mask whose object starts 20 voxels and `offset` from a voxel that fixes the box's corner."""
    placed = np.zeros([20 + 10 + side for side in mask.shape], bool)
    placed[0, 0, 0] = True
    placed[tuple(slice(20 + o, 20 + o + side) for o, side in zip(offset, mask.shape))] = mask
    return placed


@example(
    (np.array([[[1, 0, 0, 0, 0, 0]]], bool), np.array([[[0, 0, 0, 0, 0, 1]]], bool)),
    (1, 1, 0.6),
    (0, 0, 3),
    3.0,
)
@given(mask_pairs(), SPACINGS, OFFSETS, st.sampled_from([1.0, 2.0, 3.0, 1.2, 1.5, 2.5]))
@settings(max_examples=150, deadline=None)
def test_surface_scores_do_not_depend_on_where_an_object_lies(masks, spacing, offset, tolerance_mm):
    here, there = (
        surface.measure(*(far_from_a_voxel_at_the_origin(mask, at) for mask in masks), spacing)
        for at in ((0, 0, 0), offset)
    )
    assert here.surface_dice(tolerance_mm) == there.surface_dice(tolerance_mm)
    assert (here.assd, here.rmsd, here.mssd) == pytest.approx((there.assd, there.rmsd, there.mssd), rel=1e-9)


@pytest.mark.parametrize("most_points", [surface.MOST_TREE_POINTS, 0])
@pytest.mark.parametrize("side", [0.6, 0.7, 0.1, 0.3, 1.1, float(np.float32(0.6)), float(np.float32(0.7))])
def test_a_tolerance_of_whole_voxels_reaches_that_many_wherever_they_lie(side, most_points, monkeypatch):
    """By the search tree and by the distance map."""
    monkeypatch.setattr(surface, "MOST_TREE_POINTS", most_points)
    for apart, start in itertools.product(range(1, 8), range(8, 20)):
        first, second = np.zeros((2, 30, 1, 1), bool)
        # The voxel at 0 belongs to both, so that the box does not begin at the object.
        first[[0, start], 0, 0] = True
        second[[0, start + apart], 0, 0] = True
        distances = surface.measure(first, second, (side, 1.0, 1.0))
        nominal = round(side, 3) * apart
        assert distances.surface_dice(nominal) == 1
        assert distances.surface_dice(nominal * 0.999) == 0.5


def numbers(arrays, spacing, mode):
    """All numbers of a case that no order of lesions decides, by name."""
    case = score.score_case(*arrays, spacing, mode)
    found = {name: value for name, value in cohort.score_set([case]).items() if value is not None}
    found |= {name: term.value() for name, term in cohort.extra_terms([case]).items()}
    found |= case.volumes_ml | case.surface_dice
    for detection in case.detection:
        counts = dataclasses.asdict(detection)
        found |= {f"detection_{name}_at_{detection.threshold}": count for name, count in counts.items()}
    return {name: value for name, value in found.items() if value is not None}


@given(label_pairs(), SPACINGS, OFFSETS, st.sampled_from(MODES))
@settings(max_examples=100, deadline=None)
def test_no_score_depends_on_the_background_around(labels, spacing, offset, mode):
    padded = [np.pad(array, [(before, 9 - before) for before in offset]) for array in labels]
    assert numbers(padded, spacing, mode) == numbers(labels, spacing, mode)


def ties(labels, spacing):
    """Whether equal overlaps and equal sizes leave the choice of a lesion's partner to the scan order."""
    measured = pair.Pair(*labels, spacing)
    shared, choices = measured.overlaps.shared, []
    for (p, r), voxels in shared.items():
        size = int(measured.overlaps.prediction_sizes[p - 1])
        choices.append(("reference", r, voxels, size))
    for group in lesions.find_groups(measured.overlaps, by_scan_order=False):
        size = sum(int(measured.overlaps.reference_sizes[r - 1]) for r in group.references)
        for p in {p for p, _ in shared}:
            voxels = sum(shared.get((p, r), 0) for r in group.references)
            if voxels:
                choices.append(("prediction", p, voxels, size))
    return len(choices) != len(set(choices))


@given(label_pairs(), SPACINGS, st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
@settings(max_examples=150, deadline=None)
def test_corrected_scores_do_not_depend_on_how_a_volume_is_stored(labels, spacing, order, mirrored):
    assume(not ties(labels, spacing))
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in mirrored)
    turned = [array.transpose(order)[steps] for array in labels]
    turned_spacing = [spacing[axis] for axis in order]
    assert numbers(turned, turned_spacing, "corrected") == pytest.approx(
        numbers(labels, spacing, "corrected")
    )


# Lesions are matched in scan order by the challenge's scorer, so what is told of them depends on it.
SCAN_ORDER = ("lesion_", "detection_")
PER_CASE = ("lesion_dice_per_case", "lesion_dice_global")


@given(label_pairs(), SPACINGS, st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
@settings(max_examples=100, deadline=None)
def test_official_scores_but_for_single_lesions_neither(labels, spacing, order, mirrored):
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in mirrored)
    turned = [array.transpose(order)[steps] for array in labels]
    here, there = (
        {k: v for k, v in numbers(*of, "official").items() if k in PER_CASE or not k.startswith(SCAN_ORDER)}
        for of in ((labels, spacing), (turned, [spacing[axis] for axis in order]))
    )
    assert there == pytest.approx(here)
