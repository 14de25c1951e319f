"""The mean over turned patches, beside SciPy's interpolation and a turn that can be made by hand."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from dsdenseunet.inference.turning import averaged_over_turns
from tests.inference.test_predict import Lopsided, predictor

SPACING_MM = (2.5, 0.7, 0.9)


def lopsided(patches_BDHWC):
    """What depends on the neighbour along W, and so on how an image lies."""
    left = jnp.roll(patches_BDHWC[..., 0], 1, axis=3)
    return jnp.stack([left, 1 - left], axis=-1)


def turned(image_DHW, rotation, spacing_mm):
    """By SciPy, whose matrices too lead from the result's voxels to the image's."""
    spacing = np.diag(spacing_mm)
    matrix = np.linalg.inv(spacing) @ rotation.as_matrix() @ spacing
    middle = (np.array(image_DHW.shape) - 1) / 2
    return ndimage.affine_transform(
        image_DHW, matrix, offset=middle - matrix @ middle, order=1, mode="nearest"
    )


def test_five_passes_are_averaged_as_by_scipy():
    patch = np.random.default_rng(0).random((1, 6, 14, 12, 1)).astype(np.float32)
    passes = [np.asarray(lopsided(patch))[0]]
    for diagonal in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)):
        rotation = Rotation.from_rotvec(np.deg2rad(9) / np.sqrt(3) * np.array(diagonal))
        image = turned(patch[0, ..., 0], rotation, SPACING_MM)
        said = np.asarray(lopsided(jnp.asarray(image[None, ..., None])))[0]
        back = [turned(said[..., c], rotation.inv(), SPACING_MM) for c in range(2)]
        passes.append(np.stack(back, axis=-1))
    averaged = averaged_over_turns(lopsided, 9, SPACING_MM)(jnp.asarray(patch))
    np.testing.assert_allclose(averaged[0], np.mean(passes, axis=0), atol=2e-5)
    assert np.abs(averaged[0] - passes[0]).max() > 0.1
    np.testing.assert_allclose(averaged.sum(axis=-1), 1, atol=1e-5)


def test_a_predictor_turns_in_millimetres_and_must_know_them():
    one = predictor(Lopsided(), rotation_degrees=9.0)
    image = np.random.default_rng(1).integers(-200, 200, (4, 8, 8)).astype(np.int16)
    with pytest.raises(ValueError, match="spacing_mm of the image must be given"):
        one.segment(image)
    thick, cubes = (
        np.concatenate([values for _, values in one.probabilities(image, spacing_mm)])
        for spacing_mm in (SPACING_MM, (1.0, 1.0, 1.0))
    )
    assert np.abs(thick - cubes).max() > 0.01
    plain = dataclasses.replace(one, rotation_degrees=0.0)
    ((_, as_it_lies),) = plain.probabilities(image)
    assert np.abs(thick - as_it_lies).max() > 0.01
