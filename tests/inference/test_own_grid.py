"""Probabilities back on the scan's own grid, while slabs of the network's are still to come."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from dsdenseunet.data import memory
from dsdenseunet.data.resampling import resample_image
from dsdenseunet.inference import ensemble, own_grid
from dsdenseunet.inference.predict import Predictor
from dsdenseunet.inference.sliding_window import Piece
from dsdenseunet.tasks.lits import TASK
from tests.training.tiny import TinyNet

SHAPE = (9, 10, 12)
MODEL = TinyNet()


def pieces(probabilities_DHWC, lengths):
    """The slices in pieces of such lengths, amid padding that counts for nothing."""
    first = 0
    for length in lengths:
        part = probabilities_DHWC[first : first + length]
        values = np.pad(part, ((1, 3), (2, 20), (5, 15), (0, 0)), constant_values=7)
        keep = slice(1, 1 + length), slice(2, 2 + SHAPE[1]), slice(5, 5 + SHAPE[2])
        yield Piece(first, jnp.asarray(values), keep)
        first += length


@pytest.mark.parametrize("own", [(21, 33, 40), (4, 10, 5), (9, 21, 12), (1, 1, 1), (40, 9, 64)])
@pytest.mark.parametrize("lengths", [(9,), (4, 1, 4)])
def test_slices_are_those_of_the_whole_volume(own, lengths):
    probabilities = np.random.default_rng(0).random((*SHAPE, 3), np.float32)
    found = list(own_grid.onto(pieces(probabilities, lengths), SHAPE, own))
    assert [piece.first for piece in found] == list(range(own[0]))
    together = np.concatenate([np.asarray(piece.values[piece.keep]) for piece in found])
    np.testing.assert_allclose(together, zoomed(probabilities, own), atol=1e-6)
    assert {piece.values.shape[1] % 32 for piece in found} == {0}


def zoomed(probabilities_DHWC, shape):
    zoom = [n / m for n, m in zip((*shape, 1), (*probabilities_DHWC.shape[:3], 1))]
    return ndimage.zoom(probabilities_DHWC, zoom, order=1, mode="nearest", grid_mode=True)


def predictor(seed=0, spacing_mm=(2.0, 1.0, 1.0), patch_size=(4, 16, 16)):
    task = dataclasses.replace(TASK, spacing_mm=spacing_mm)
    return Predictor(MODEL, MODEL.first_values(seed), patch_size, task)


def image(shape=(12, 20, 17)):
    return np.random.default_rng(0).integers(-500, 500, shape).astype(np.int16)


def together(segmenter, spacing_mm):
    return np.concatenate([np.asarray(part) for _, part in segmenter.probabilities(image(), spacing_mm)])


def test_prediction_is_that_of_the_resampled_scan_resampled_back():
    """As by whole volumes; and where nothing changes, bit by bit what it is without a spacing."""
    spacing_mm = (1.5, 0.8, 1.2)
    one = predictor()
    resampled = resample_image(image(), (9, 16, 20), whole=True)
    plain = predictor(spacing_mm=())
    expected = np.concatenate([np.asarray(part) for _, part in plain.probabilities(resampled)])
    expected = zoomed(expected, (12, 20, 17))
    found = together(one, spacing_mm)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(one.segment(image(), spacing_mm), found.argmax(axis=-1))
    np.testing.assert_array_equal(together(one, (2.0, 1.0, 1.0)), together(plain, None))
    with pytest.raises(ValueError, match="spacing_mm of the image must be given"):
        one.segment(image())


def test_runs_of_several_spacings_are_averaged_on_the_scan_s_grid():
    runs = {"a": predictor(0), "b": predictor(1, (1.5, 1.5, 1.5), (6, 8, 16)), "c": predictor(2, ())}
    averaged = together(ensemble.Ensemble(runs, TASK, ()), (1.5, 0.8, 1.2))
    alone = [together(one, (1.5, 0.8, 1.2)) for one in runs.values()]
    np.testing.assert_allclose(averaged, np.mean(alone, axis=0), atol=1e-6)


def test_statistics_are_those_of_the_scan_itself():
    task = dataclasses.replace(
        TASK, channels=(dataclasses.replace(TASK.channels[0], normalisation="zscore", numbers=()),)
    )
    one = dataclasses.replace(predictor(), task=dataclasses.replace(task, spacing_mm=(2.0, 2.0, 2.0)))
    scan = image().astype(np.float32)
    given = [(float(scan.mean()), float(scan.std()))]
    shown = [
        np.concatenate([np.asarray(part) for _, part in one.probabilities(scan, (1.0, 1.0, 1.0), statistics)])
        for statistics in (None, given)
    ]
    np.testing.assert_allclose(*shown, atol=1e-5)


def test_a_scan_that_a_header_makes_huge_is_refused_by_name(monkeypatch):
    one = predictor()
    monkeypatch.setattr(memory, "machine_bytes", lambda: 4 * 20 * 17 * 4 * 7)
    one.check_room("scan.nii", (12, 20, 17), (1.0, 1.0, 1.0))
    with pytest.raises(Exception, match="resampled to 2 x 1 x 1 mm: 4 x 20000 x 17000 voxels") as error:
        one.check_room("scan.nii", (12, 20, 17), (1.0, 1000.0, 1000.0))
    assert error.value.where == "scan.nii" and "header" in error.value.fix
