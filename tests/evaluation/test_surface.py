import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from dsdenseunet.evaluation import overlap, surface
from tests.evaluation.label_pairs import make_pair

MONAI = json.loads((Path(__file__).parent / "data" / "monai.json").read_text())


def box(shape, *sides):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def test_surface_of_a_cube_is_all_but_its_middle():
    cube = box((5, 5, 5), (1, 4), (1, 4), (1, 4))
    expected = cube.copy()
    expected[2, 2, 2] = False
    assert np.array_equal(surface.surface(cube), expected)


def test_the_volume_edge_counts_as_outside():
    full = np.ones((3, 3, 3), bool)
    assert surface.surface(full).sum() == 26


def test_surface_is_the_erosion_by_18_neighbours():
    rng = np.random.default_rng(0)
    element = ndimage.generate_binary_structure(3, 2)
    for shape in ((6, 7, 8), (1, 5, 6), (9, 1, 1)):
        for density in (0.5, 0.9, 0.98):
            mask = rng.random(shape) < density
            assert np.array_equal(surface.surface(mask), mask ^ ndimage.binary_erosion(mask, element))


def test_two_voxels_by_hand():
    # 3 voxels apart along an axis of 2 mm: 6 mm both ways.
    first, second = box((1, 1, 5), (0, 1), (0, 1), (0, 1)), box((1, 1, 5), (0, 1), (0, 1), (3, 4))
    distances = surface.measure(first, second, (1.0, 1.0, 2.0))
    assert (distances.assd, distances.rmsd, distances.mssd) == (6, 6, 6)
    assert distances.surface_dice(5.9) == 0
    assert distances.surface_dice(6) == 1


def test_one_against_three_by_hand():
    # Prediction x = 0; reference x = 0, 1, 2 at 1.5 mm: distances 0 | 0, 1.5, 3.
    first, second = box((1, 1, 4), (0, 1), (0, 1), (0, 1)), box((1, 1, 4), (0, 1), (0, 1), (0, 3))
    distances = surface.measure(first, second, (9.0, 9.0, 1.5))
    assert distances.assd == pytest.approx(4.5 / 4)
    assert distances.rmsd == pytest.approx(np.sqrt((1.5**2 + 3**2) / 4))
    assert distances.mssd == 3
    assert distances.surface_dice(1) == 2 / 4
    assert distances.surface_dice(2) == 3 / 4


def test_empty_masks_have_no_distance():
    some, none = np.ones((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    assert surface.measure(some, none, (1, 1, 1)) is None
    assert surface.measure(none, some, (1, 1, 1)) is None
    assert surface.measure(none, none, (1, 1, 1)) is None


@pytest.mark.parametrize("most_points", [surface.MOST_TREE_POINTS, 0])
def test_distances_are_those_of_all_pairs(most_points, monkeypatch):
    """By the search tree and by the distance map that large surfaces get."""
    monkeypatch.setattr(surface, "MOST_TREE_POINTS", most_points)
    rng = np.random.default_rng(1)
    spacing = (0.7, 2.5, 1.3)
    for _ in range(20):
        masks = rng.random((2, 6, 7, 8)) < 0.4
        points = [np.argwhere(surface.surface(mask)) * spacing for mask in masks]
        apart = cdist(*points)
        distances = surface.measure(*masks, spacing)
        assert np.allclose(distances.from_prediction, apart.min(axis=1), atol=1e-5)
        assert np.allclose(distances.from_reference, apart.min(axis=0), atol=1e-5)


def test_monai_agrees_where_its_surface_is_the_same():
    """MONAI's numbers, computed once in 32 bits; it erodes by 6 neighbours, this project by 18."""
    assert len(MONAI["rows"]) > 200
    for seed, *expected in MONAI["rows"]:
        prediction, reference, spacing = make_pair(seed)
        masks = prediction > 0, reference > 0
        distances = surface.measure(*masks, spacing)
        found = [
            overlap.dice(overlap.count(*masks)),
            distances.assd,
            distances.mssd,
            distances.surface_dice(2.0),
            distances.rmsd,
        ]
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6), seed
